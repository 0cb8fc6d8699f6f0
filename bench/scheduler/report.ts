import { defaultQueueLimits } from '../../gpu/vram/bounds.ts';
import { defaultPolicy } from '../../gpu/vram/policy.ts';
import { printTable } from '../table.ts';
import { baselines } from './baselines.ts';
import { type Figures, figuresOf } from './figures.ts';
import { kilnhouse } from './kilnhouse.ts';
import { company, costs, scenarios } from './workload.ts';

const seeds = Array.from({ length: 16 }, (_, i) => i + 1);
const bounds = defaultQueueLimits;

/** The comparison with the peers' policies, and what the goals say of it. */
export function reportScheduler(): void {
  const ours = kilnhouse('Kilnhouse', defaultPolicy, bounds);
  console.log(
    `\nOrder of work, simulated: one hour, ${seeds.length} seeds, text 4 slots x 8 s, image 1 x 25 s (+-30 %), loads 6 / 10 s,`,
    '\nstops 1 / 1.5 s. Text and image do not fit together. Waits in seconds, p50 / p95.',
  );
  for (const scenario of scenarios) {
    const rows = [...baselines, ours].map((contestant) => figuresOf(contestant, scenario, seeds));
    printTable(
      scenario.name,
      rows.map((row) => ({
        policy: row.policy,
        swaps: row.swaps,
        'in swaps %': row.swapShare * 100,
        'finished %': row.finished * 100,
        'refused %': row.refused * 100,
        'text p50': row.textP50,
        'text p95': row.textP95,
        'image p50': row.imageP50,
        'image p95': row.imageP95,
        worst: row.worst,
        Jain: row.jain,
        'hog done': row.hogDone,
      })),
    );
    judge(scenario.name.charAt(0), rows);
  }
  reportCheaperSwaps();
  const together = kilnhouse('both fit (3.3 + 3.5 of 7 GiB)', defaultPolicy, bounds, {
    text: 3.3,
    image: 3.5,
  });
  const rows = scenarios.slice(0, 2).map((scenario) => figuresOf(together, scenario, seeds));
  printTable(
    'Two models that fit together',
    rows.map((row, i) => ({
      scenario: scenarios[i]?.name ?? '',
      'swaps after warm-up': row.swaps,
      'text p95': row.textP95,
      'image p95': row.imageP95,
    })),
  );
}

/** What swaps cost less when weights stay in system memory, and what that does to everyone's wait. */
function reportCheaperSwaps(): void {
  const ways = [
    ['from disk', { text: 1, image: 1 }],
    ['image weights kept in RAM (a fifth of the load)', { text: 1, image: 0.2 }],
    ['and the text file read ahead while the resident drains (half)', { text: 0.5, image: 0.2 }],
  ] as const;
  const scenario = scenarios[1];
  if (!scenario) return;
  printTable(
    'Cheaper swaps: what they do to scenario B (load times scaled; the factors are those the stand-ins and the page cache show)',
    ways.map(([name, loads]) => {
      const row = figuresOf(kilnhouse(name, defaultPolicy, bounds, undefined, loads), scenario, seeds);
      return {
        'how the next model is loaded': name,
        swaps: row.swaps,
        'in swaps %': row.swapShare * 100,
        'text p95': row.textP95,
        'image p95': row.imageP95,
      };
    }),
  );
}

function judge(scenario: string, rows: readonly Figures[]): void {
  const ours = rows.at(-1);
  if (!ours) return;
  const others = rows.slice(0, -1);
  const say = (goal: string, met: boolean): void => console.log(`  ${met ? 'met   ' : 'MISSED'} ${goal}`);
  if (scenario === 'A' || scenario === 'B') {
    const honest = others.filter(({ refused }) => refused === 0);
    const dominated = honest.some((row) => row.textP95 <= ours.textP95 && row.imageP95 <= ours.imageP95);
    const textRivals = honest.filter((row) => row.imageP95 <= ours.imageP95).map((row) => row.textP95);
    const imageRivals = honest.filter((row) => row.textP95 <= ours.textP95).map((row) => row.imageP95);
    const byText = 1 - ours.textP95 / Math.min(...textRivals);
    const byImage = 1 - ours.imageP95 / Math.min(...imageRivals);
    say(
      'on the front of (text p95, image p95) among those that refuse nothing',
      !dominated && ours.refused === 0,
    );
    const better = Math.max(textRivals.length ? byText : 1, imageRivals.length ? byImage : 1);
    const figures = `text ${percent(byText, textRivals)}, image ${percent(byImage, imageRivals)}`;
    say(`10 % better in one than any baseline as good in the other (${figures})`, better >= 0.1);
  }
  if (scenario === 'C') {
    say(
      `images within 2 minutes at p95 (${ours.imageP95.toFixed(0)} s), refusals told at once (${(ours.refused * 100).toFixed(1)} %)`,
      ours.imageP95 <= 120,
    );
  }
  if (scenario === 'E') {
    say(
      `no picture waits longer than the maximum wait and the swap (${ours.imageWorst.toFixed(0)} of ${companyBoundS} s)`,
      ours.imageWorst <= companyBoundS && ours.refused === 0,
    );
  }
  if (scenario === 'D') {
    const peer = others.find(({ policy }) => policy.startsWith('Ollama'))?.textP95 ?? 0;
    say(
      `interactive p95 at most a ninth of Ollama’s (${ours.textP95.toFixed(0)} s of ${peer.toFixed(0)} s)`,
      ours.textP95 * 9 <= peer,
    );
    say(
      `the hog’s images done within the hour (${(ours.hogDone / 60).toFixed(0)} min)`,
      ours.hogDone <= 3600,
    );
  }
}

/** The longest that a picture of the company may wait: its class's bound, the longest stream, and the swap. */
export const companyBoundS =
  defaultPolicy.maxWaitMs.interactive / 1000 + company.streamS[1] + costs.text.stop + costs.image.load;

function percent(gain: number, rivals: readonly number[]): string {
  return rivals.length === 0 ? 'no rival' : `${(gain * 100).toFixed(0)} %`;
}
