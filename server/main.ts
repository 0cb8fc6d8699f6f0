import { flushCompileCache } from 'node:module';
import { type Appliance, compose } from './compose.ts';
import { InvalidValue } from './config/checked.ts';
import { loadConfig } from './config/config.ts';
import { AlreadyRunning } from './db/instance-lock.ts';
import { LedgerBroken } from './ledger/proof.ts';
import { limits } from './contract/limits.ts';
import { tellShell, toldToEnd } from './shell-link.ts';

/** Whoever started us starts us again. */
const restartCode = 75;

/* Process entry: starts the appliance, says how to use it, and ends it when asked to. */
try {
  let end = (_code: number): void => undefined;
  const restarts = process.env['KILNHOUSE_RESTARTS'] === '1';
  const appliance = await compose(loadConfig(), {
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
  process.exitCode = 1;
}

function welcome(appliance: Appliance, link: string): string {
  const { tenantUrl, operatorUrl, tokenFile, certificate, demo, freshKey, demoAccounts } = appliance;
  const key = freshKey ?? '<your key>';
  const lines = [
    '',
    demo
      ? 'Kilnhouse is serving, in DEMO mode: no engine was found, so stand-ins answer.'
      : 'Kilnhouse is serving.',
    '',
    `  Tenant API     ${tenantUrl}     (documentation: ${tenantUrl}/docs)`,
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
      end(1);
    });
  }
  return end;
}
