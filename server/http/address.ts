import ipaddr from 'ipaddr.js';

/**
 * What callers are counted by: an IPv4 address, or the /64 of an IPv6 one, since whoever has one address of it has
 * them all (A7).
 */
export function addressKey(address: string): string {
  if (!ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  const network = parsed.toByteArray().map((byte, index) => (index < 8 ? byte : 0));
  return `${ipaddr.fromByteArray(network).toString()}/64`;
}
