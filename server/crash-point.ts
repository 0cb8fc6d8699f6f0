/** `name:hit`: dies there, the so-manieth time it comes by. Only tests set it. */
const [wantedName, wantedHit] = (process.env['KILNHOUSE_CRASH_AT'] ?? '').split(':');
let hits = 0;

/**
 * A moment between two things that belong together, where a test may let the appliance die as if the power went (F2).
 * Does nothing otherwise.
 */
export function crashPoint(name: string): void {
  if (name !== wantedName) return;
  hits += 1;
  if (hits === Number(wantedHit)) process.kill(process.pid, 'SIGKILL');
}
