import { flushCompileCache } from 'node:module';
import { type Appliance, compose, type Surroundings } from './compose.ts';
import { InvalidValue } from './config/checked.ts';
import { dataFolder, type LoadedConfig, loadConfig } from './config/config.ts';
import { keepAsGood, lastGood } from './config/last-good.ts';
import { DatabaseDamaged } from './db/health.ts';
import { AlreadyRunning } from './db/instance-lock.ts';
import { LedgerBroken } from './ledger/proof.ts';
import { limits } from './contract/limits.ts';
import { tellShell, toldToEnd } from './shell-link.ts';

/** Whoever started us starts us again. */
const restartCode = 75;
/** Whoever started us need not try again: it is for somebody to mend. */
const cannotStartCode = 78;

// What we write is for the owner of the installation alone, whatever folder it is written to.
process.umask(0o077);

/* Process entry: starts the appliance, says how to use it, and ends it when asked to. */
try {
  let end = (_code: number): void => undefined;
  const restarts = process.env['KILNHOUSE_RESTARTS'] === '1';
  const appliance = await start({
    terminal: process.stderr.isTTY,
    restart: restarts ? () => end(restartCode) : null,
  });
  const link = appliance.consoleLink();
  console.log(welcome(appliance, link));
  end = endOn(appliance);
  const { tenantUrl, operatorUrl } = appliance;
  tellShell({ type: 'serving', tenantUrl, operatorUrl, link });
  toldToEnd(() => end(0));
  // Where compiled code is kept (scripts/bootstrap.mjs), also that of a run which will be killed.
  flushCompileCache();
} catch (error) {
  const known =
    error instanceof InvalidValue || error instanceof AlreadyRunning || error instanceof LedgerBroken;
  console.error(`\nKilnhouse did not start: ${error instanceof Error ? error.message : String(error)}`);
  if (!known && error instanceof Error && process.env['KILNHOUSE_DEBUG']) console.error(error.stack);
  process.exitCode = cannotStartCode;
}

/** Starts with the settings there are; where they stop the start, with the last ones that worked. */
async function start(surroundings: Surroundings): Promise<Appliance> {
  const serve = async (loaded: LoadedConfig): Promise<Appliance> => {
    const appliance = await compose(loaded, surroundings);
    keepAsGood(loaded);
    return appliance;
  };
  try {
    return await serve(loadConfig());
  } catch (error) {
    // None of these is a matter of the settings.
    if (error instanceof AlreadyRunning || error instanceof LedgerBroken || error instanceof DatabaseDamaged)
      throw error;
    const why = error instanceof Error ? error.message : String(error);
    const good = lastGood(dataFolder(process.env), why);
    if (!good) throw error;
    console.error(
      `\nThe start with the settings in config.json failed: ${why}\nStarting with the last settings that worked.`,
    );
    // What fails with those as well is not a matter of the settings: the first reason is the one to mend.
    return serve(good).catch(() => {
      throw error;
    });
  }
}

function welcome(appliance: Appliance, link: string): string {
  const { tenantUrl, problem, operatorUrl, tokenFile, certificate, demo, freshKey, demoAccounts } = appliance;
  const key = freshKey ?? '<your key>';
  const lines = [
    '',
    demo
      ? 'Kilnhouse is serving, in DEMO mode: no engine was found, so stand-ins answer.'
      : 'Kilnhouse is serving.',
    '',
    problem === null
      ? `  Tenant API     ${tenantUrl}     (documentation: ${tenantUrl}/docs)`
      : `  Tenant API     NOT OPEN: ${problem} It is tried again every ${limits.listenAgainMs / 1000} s.`,
    `  Console        ${link}     (works once, for 15 minutes; npm run console makes another)`,
    `  Operator API   ${operatorUrl}     (token in ${tokenFile})`,
  ];
  if (certificate) {
    const whose = certificate.isOurs ? 'our own; programs have to be told to trust it' : 'yours';
    lines.push(`  Certificate    ${certificate.fingerprint}     (SHA-256; ${whose})`);
  }
  if (freshKey !== null) {
    const kept = demo ? 'for this start only' : 'shown only now; only its hash is kept';
    lines.push(`  ${demo ? 'Demo key' : 'First key'}       ${freshKey}     (${kept})`);
  }
  if (demoAccounts) {
    lines.push(
      `  Demo accounts  ${demoAccounts.emails.join(', ')}`,
      `                 password ${demoAccounts.password}     (for this start only)`,
    );
  }
  const text = JSON.stringify({ prompt: 'Hello, who are you?' });
  const chat = JSON.stringify({
    model: demo ? 'demo-chat-8b' : '<model>',
    stream: true,
    messages: [{ role: 'user', content: 'Hello, who are you?' }],
  });
  const image = JSON.stringify({ prompt: 'a kiln at night', format: 'url' });
  const headers = `-H 'authorization: Bearer ${key}' -H 'content-type: application/json'`;
  lines.push(
    '',
    'A streamed chat:',
    `  curl -N ${tenantUrl}/v1/chat/completions ${headers} -d '${chat}'`,
    'An image:',
    `  curl ${tenantUrl}/generate-image ${headers} -d '${image}'`,
    '',
  );
  if (!demo)
    lines.push(
      `The models: curl ${tenantUrl}/v1/models ${headers}`,
      `A text:     curl ${tenantUrl}/generate-text ${headers} -d '${text}'`,
      '',
    );
  return lines.join('\n');
}

/** Returns how to end it. */
function endOn(appliance: Appliance): (code: number) => void {
  let ending = false;
  const end = (code: number): void => {
    if (ending) return;
    ending = true;
    // Whatever hangs, the keeper ends the engines once this process is gone.
    setTimeout(() => process.exit(code || 1), limits.closeMs).unref();
    appliance.close().then(
      () => process.exit(code),
      () => process.exit(1),
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(0));
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      console.error('Kilnhouse met an error it did not expect, and stops:', error);
      // A start of the same database would end the same way.
      end(error instanceof DatabaseDamaged ? cannotStartCode : 1);
    });
  }
  return end;
}
