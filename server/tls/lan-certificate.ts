import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';

/** What a listener shows: PEM texts, and the fingerprint by which people can tell it. */
export interface LanCertificate {
  readonly cert: string;
  readonly key: string;
  /** SHA-256, as browsers show it. */
  readonly fingerprint: string;
  /** False for one that the operator gave. */
  readonly isOurs: boolean;
}

export interface CertificateSettings {
  /** Paths of PEM files that the operator gives; ours is made when null. */
  readonly certificateFile: string | null;
  readonly keyFile: string | null;
}

const dayMs = 24 * 3_600_000;
const goodForDays = 397;
const renewBeforeMs = 30 * dayMs;

/**
 * The certificate of the tenant listener: the operator's, or one of our own, which is kept, and made anew before it
 * expires or when this machine has addresses that are not in it. Throws for files that are no pair.
 */
export async function lanCertificate(
  { certificateFile, keyFile }: CertificateSettings,
  folder: string,
  names: readonly string[] = namesOfThisMachine(),
): Promise<LanCertificate> {
  if (certificateFile !== null && keyFile !== null) return read(certificateFile, keyFile, false);
  const files = [join(folder, 'certificate.pem'), join(folder, 'key.pem')] as const;
  if (files.every((file) => existsSync(file))) {
    const kept = read(...files, true);
    if (isGood(kept.cert, names)) return kept;
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const made = await make(names);
  writeFileSync(files[0], made.cert, { mode: 0o600 });
  writeFileSync(files[1], made.key, { mode: 0o600 });
  return read(...files, true);
}

function read(certificateFile: string, keyFile: string, isOurs: boolean): LanCertificate {
  const cert = readFileSync(certificateFile, 'utf8');
  return {
    cert,
    key: readFileSync(keyFile, 'utf8'),
    isOurs,
    fingerprint: new X509Certificate(cert).fingerprint256,
  };
}

function isGood(cert: string, names: readonly string[]): boolean {
  const { validTo, subjectAltName = '' } = new X509Certificate(cert);
  const known = new Set(subjectAltName.split(', ').map((entry) => entry.replace(/^(DNS|IP Address):/, '')));
  return Date.parse(validTo) - Date.now() > renewBeforeMs && names.every((name) => known.has(name));
}

async function make(names: readonly string[]): Promise<{ cert: string; key: string }> {
  // Loaded for the few starts that make one.
  const { generate } = await import('selfsigned');
  const altNames = names.map((name) =>
    /^[\d.]+$/.test(name) ? ({ type: 7, ip: name } as const) : ({ type: 2, value: name } as const),
  );
  const now = Date.now();
  const made = await generate([{ name: 'commonName', value: 'Kilnhouse' }], {
    keySize: 2048,
    algorithm: 'sha256',
    notBeforeDate: new Date(now - dayMs),
    notAfterDate: new Date(now + goodForDays * dayMs),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames },
    ],
  });
  return { cert: made.cert, key: made.private };
}

/** Whatever somebody on the LAN may type to get here. */
function namesOfThisMachine(): string[] {
  return ['localhost', hostname(), '127.0.0.1', ...lanAddresses()];
}

/** The machine's own IPv4 addresses, but for loopback. */
export function lanAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? [])
      .filter(({ family, internal }) => family === 'IPv4' && !internal)
      .map(({ address }) => address),
  );
}
