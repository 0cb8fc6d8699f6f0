import type { Status } from './status.ts';

export interface Notice {
  readonly title: string;
  readonly body: string;
  /** Where in the console it is about. */
  readonly page: string;
}

/** Credits below which a tenant will soon be refused. */
const lowCredits = 20;

/** What the operator is told of when the appliance goes from one status to the next; nothing twice. Pure. */
export function noticesOf(before: Status, now: Status): Notice[] {
  const notices: Notice[] = [];
  if (now.server === 'failed' && before.server !== 'failed')
    notices.push({
      title: 'Kilnhouse does not start',
      body: 'It ended again and again. Its menu in the tray can start it once more; the log says why.',
      page: '/',
    });
  const known = before.state?.alerts ?? {};
  // What was there when the shell came is in the console; news is news.
  if (before.state) {
    for (const { id, level, title, advice, page } of Object.values(now.state?.alerts ?? {}))
      if (level === 'error' && !(id in known)) notices.push({ title, body: advice, page });
  }
  const balances = new Map(before.tenants.map(({ id, available }) => [id, available]));
  for (const { id, name, available } of now.tenants) {
    const was = balances.get(id);
    if (
      available === null ||
      was === null ||
      was === undefined ||
      was < lowCredits ||
      available >= lowCredits
    )
      continue;
    notices.push({
      title: `${name} has ${available} credits left`,
      body: 'It is refused when they are used up. Grant some, or let it buy more.',
      page: `/tenants/${id}`,
    });
  }
  if (now.update && now.update.version !== before.update?.version)
    notices.push({
      title: `Version ${now.update.version} is there`,
      body: 'Get it from the tray menu, or refuse it there. Nothing is installed by itself.',
      page: '/about',
    });
  return notices;
}
