import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/** The address that a name leads to is not one that tenants may have us call. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** Whether an address is out on the internet, or one the operator allowed (an address or a CIDR range). */
export function mayCall(address: string, allowed: readonly string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  // Of IPv6 only 2000::/3 is out there; ::7f00:1, for one, is 127.0.0.1 in old clothes.
  const isGlobal = parsed.kind() === 'ipv4' || ((parsed.toByteArray()[0] ?? 0) & 0xe0) === 0x20;
  if (isGlobal && parsed.range() === 'unicast') return true;
  return allowed.some((range) => {
    const [network, bits] = ipaddr.parseCIDR(
      range.includes('/') ? range : `${range}/${range.includes(':') ? 128 : 32}`,
    );
    return network.kind() === parsed.kind() && parsed.match([network, bits]);
  });
}

/**
 * Name resolution for connections that tenants cause: what it gives is what is connected to, so a name cannot lead
 * elsewhere between the check and the call (W2, rebinding). One forbidden address among several refuses them all.
 */
export function guardedLookup(allowed: readonly string[]): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 4);
      const bad = addresses.find(({ address }) => !mayCall(address, allowed));
      const first = addresses[0];
      if (bad || !first) {
        return callback(new AddressRefused(`${host} leads to an address that may not be called.`), '', 4);
      }
      if (options.all) return callback(null, addresses);
      callback(null, first.address, first.family);
    });
  };
}

/** Throws AddressRefused for a URL that cannot be called whatever it resolves to. */
export function demandCallable(text: string, allowed: readonly string[]): URL {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new AddressRefused('The address has to begin with https:// or http://.');
  if (url.username !== '' || url.password !== '')
    throw new AddressRefused('The address must not hold a user name or password.');
  // Names are checked when they are resolved; a literal address is never resolved.
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (ipaddr.isValid(host) && !mayCall(host, allowed))
    throw new AddressRefused(`${host} is an address that may not be called.`);
  return url;
}
