import { join } from 'node:path';
import { newId } from '../../server/db/ids.ts';
import { openDatabase } from '../../server/db/open.ts';
import { JobStore } from '../../server/jobs/job-store.ts';
import { Offers } from '../../server/offers/offers.ts';
import { installSecret } from '../../server/secrets/install-secret.ts';
import { Vault } from '../../server/secrets/vault.ts';

/** Fills a data folder with jobs that have ended and requests that were made, all of one tenant: the worst case. */
export function fill(
  folder: string,
  tenant: string,
  { jobs, requests }: { jobs: number; requests: number },
): void {
  const db = openDatabase(join(folder, 'kilnhouse.db'));
  db.pragma('synchronous = OFF');
  const store = new JobStore(db, new Vault(installSecret(join(folder, 'content-key'))));
  const { prices } = new Offers(db);
  const rest = {
    tenant,
    askedBy: 'key',
    person: null,
    startBy: null,
    batch: null,
    retryOf: null,
    creditsHeld: 0,
  };
  const input = { prompt: 'a kiln at night', n: 2, seed: 1 };
  db.transaction(() => {
    for (let i = 0; i < jobs; i += 1) {
      const id = newId('job');
      store.create({ ...rest, id, feature: 'image-generation', model: `model-${i % 5}` }, input, prices);
      store.claim(id, 'boot');
      store.move(id, 'begin', {}, 1);
      store.move(id, i % 50 === 0 ? 'fail' : 'finish', {}, 1);
    }
    db.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < :requests)
       insert into usage (id, at, tenant, key_id, feature, model, status, prompt_tokens, completion_tokens, run_ms, gpu_ms)
       select 'request-' || i, :now - (:requests - i) * 2500, :tenant, 'key-' || (i % 7),
         case i % 4 when 0 then 'image' else 'chat' end, 'model-' || (i % 5),
         case when i % 100 = 0 then 'failed' else 'ok' end, 100, 200, 900, 800 from n`,
    ).run({ requests, now: Date.now(), tenant });
  })();
  db.exec('analyze');
  db.close();
}
