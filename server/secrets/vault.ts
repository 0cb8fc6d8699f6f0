import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const ivBytes = 12;
const tagBytes = 16;

/**
 * Encrypts what is kept of tenants' content: AES-256-GCM with a key a tenant, derived from the installation's, so
 * that no row can be read as another tenant's. Without the key file the rows are noise, also in backups.
 */
export class Vault {
  readonly #master: Buffer;

  constructor(master: Buffer) {
    this.#master = master;
  }

  seal(tenant: string, text: string | Uint8Array): Buffer {
    const iv = randomBytes(ivBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key(tenant), iv);
    return Buffer.concat([iv, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
  }

  /** Throws when the bytes are not what was sealed for this tenant. */
  open(tenant: string, sealed: Buffer): Buffer {
    const decipher = createDecipheriv('aes-256-gcm', this.#key(tenant), sealed.subarray(0, ivBytes));
    decipher.setAuthTag(sealed.subarray(-tagBytes));
    return Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()]);
  }

  /** The key of one file of a tenant, by the salt that lies in its head. */
  fileKey(tenant: string, salt: Uint8Array): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#master, salt, `kilnhouse tenant file ${tenant}`, 32));
  }

  #key(tenant: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#master, tenant, 'kilnhouse tenant content', 32));
  }
}
