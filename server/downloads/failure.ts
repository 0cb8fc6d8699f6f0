import { ApiError } from '../http/api-error.ts';
import { AddressRefused } from '../webhooks/public-address.ts';
import { RedirectRefused } from './address.ts';
import { NotAModel } from './model-file.ts';
import { WrongAnswer } from './transfer.ts';

const goOn = 'Try again: the download goes on where it was.';

const sentences: Readonly<Record<string, (host: string) => string>> = {
  ENOTFOUND: (host) => `"${host}" was not found. Check the address, and whether this machine is online.`,
  EAI_AGAIN: (host) =>
    `"${host}" could not be looked up. Check whether this machine is online, and try again.`,
  ECONNREFUSED: (host) => `"${host}" takes no connections. Check the address, or try again later.`,
  EHOSTUNREACH: (host) => `"${host}" cannot be reached from here. Check whether this machine is online.`,
  ENETUNREACH: (host) => `"${host}" cannot be reached from here. Check whether this machine is online.`,
  UND_ERR_CONNECT_TIMEOUT: (host) => `"${host}" does not answer. Try again later.`,
  UND_ERR_HEADERS_TIMEOUT: (host) => `"${host}" does not answer. Try again later.`,
  UND_ERR_BODY_TIMEOUT: (host) => `"${host}" stopped sending. ${goOn}`,
  UND_ERR_SOCKET: (host) => `The connection to "${host}" broke off. ${goOn}`,
  UND_ERR_ABORTED: (host) => `The connection to "${host}" broke off. ${goOn}`,
  ECONNRESET: (host) => `The connection to "${host}" broke off. ${goOn}`,
  EPIPE: (host) => `The connection to "${host}" broke off. ${goOn}`,
  ETIMEDOUT: (host) => `The connection to "${host}" broke off. ${goOn}`,
  ENOSPC: () => `The disk is full. Make room and try again: the download goes on where it was.`,
  EDQUOT: () => `The disk is full. Make room and try again: the download goes on where it was.`,
  EACCES: () => 'The appliance may not write to the models folder. Change the rights of the folder.',
  EPERM: () => 'The appliance may not write to the models folder. Change the rights of the folder.',
  EROFS: () => 'The models folder is read-only.',
};

/** Why a download failed, for the operator: what happened, and what to do. */
export function reasonOf(error: unknown, { host }: URL): string {
  const known = [ApiError, RedirectRefused, NotAModel, WrongAnswer, AddressRefused];
  if (error instanceof Error && known.some((type) => error instanceof type)) return error.message;
  const code = codeOf(error);
  const sentence = sentences[code];
  if (sentence) return sentence(host);
  if (/CERT|SELF_SIGNED|ERR_TLS|UNABLE_TO_VERIFY/.test(code))
    return `The certificate of "${host}" is not valid (${code}), so nothing was downloaded.`;
  const detail = error instanceof Error ? error.message : String(error);
  return `The download failed: ${detail}. Try again.`;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if ('code' in error && typeof error.code === 'string' && error.code in sentences) return error.code;
  const cause = codeOf(error.cause);
  return cause !== '' ? cause : 'code' in error ? String(error.code) : '';
}
