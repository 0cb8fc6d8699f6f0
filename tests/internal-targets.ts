/* Where tenants may not have us call, in every way it can be written. */

/** A few addresses of every range that is not the internet. */
const refused = `
  ::7f00:1 ::127.0.0.1 ::a9fe:a9fe ::a00:1 fec0::1 4000::1 64:ff9b:1::7f00:1
  127.0.0.1 127.1.2.3 127.255.255.255 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1
  100.127.255.255 169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
  192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
  255.255.255.255 :: ::1 fc00::1 fdff::1 fe80::1 febf::1 ff02::1 2001:db8::1 ::ffff:127.0.0.1
  ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::ffff:c0a8:1 64:ff9b::7f00:1 64:ff9b::a00:1
  2002:7f00:1:: 2002:a00:1::1 2001:0:7f00:1::1 100::1
`
  .trim()
  .split(/\s+/);

/** How one and the same address can be written in a URL. */
const disguises = (address: string): string[] => {
  if (address.includes(':'))
    return [`http://[${address}]/`, `https://[${address}]:8443/x`, `http://[${address.toUpperCase()}]/`];
  const parts = address.split('.').map(Number);
  const number = parts.reduce((sum, part) => sum * 256 + part, 0);
  const [a = 0, b = 0, c = 0, d = 0] = parts;
  return [
    `http://${address}/`,
    `https://${address}:8443/hook?x=1`,
    `http://${number}/`,
    `http://0x${number.toString(16)}/`,
    `http://0${number.toString(8)}/`,
    `http://0x${a.toString(16)}.${b}.${c}.${d}/`,
    `http://0${a.toString(8)}.0${b.toString(8)}.0${c.toString(8)}.0${d.toString(8)}/`,
    `http://${a}.${b}.${c * 256 + d}/`,
    `http://${a}.${b * 65_536 + c * 256 + d}/`,
    `http://${address}./`,
    `HTTP://${address}/`,
    `http:\\\\${address}\\`,
    `http:/${address}/`,
    `http://${address.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)))}/`,
  ];
};
export const internalTargets = refused.flatMap(disguises);
