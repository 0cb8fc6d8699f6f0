/* What pages in the window may do. Addresses are compared by their parsed origin, never by a part of their text. */

/** Where links of the console may lead, in the system's browser. */
const outside = new Set([
  'lmstudio.ai',
  'developers.cloudflare.com',
  'huggingface.co',
  'github.com',
  'stripe.com',
]);

/** Whether an address is a page of the console. Pure. */
export function isOwnPage(address: string, operatorUrl: string | null): boolean {
  if (operatorUrl === null || !URL.canParse(address)) return false;
  const url = new URL(address);
  return url.origin === new URL(operatorUrl).origin && url.username === '' && url.password === '';
}

/** Whether an address may be opened in the system's browser: the list above over https, and our own API's pages. Pure. */
export function opensOutside(address: string, tenantUrl: string | null): boolean {
  if (!URL.canParse(address)) return false;
  const url = new URL(address);
  if (url.username !== '' || url.password !== '') return false;
  if (tenantUrl !== null && url.origin === new URL(tenantUrl).origin) return true;
  return url.protocol === 'https:' && url.port === '' && outside.has(url.hostname);
}

/** The one thing the console asks of the browser: to copy a key or an address. Pure. */
export function isAllowed(permission: string, origin: string, operatorUrl: string | null): boolean {
  return permission === 'clipboard-sanitized-write' && isOwnPage(origin, operatorUrl);
}
