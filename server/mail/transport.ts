import type { Transporter } from 'nodemailer';
import type { Config } from '../config/config.ts';

/** The way to the mail server; null where none is set. The library is loaded only when it is needed. */
export async function mailTransport(mail: Config['mail']): Promise<Transporter | null> {
  const { host, port, secure, user, password, from } = mail;
  if (host === null) return null;
  const { createTransport } = await import('nodemailer');
  return createTransport(
    {
      host,
      port,
      secure,
      pool: true,
      maxConnections: 1,
      connectionTimeout: 15_000,
      greetingTimeout: 15_000,
      socketTimeout: 30_000,
      ...(user !== null && { auth: { user, pass: password ?? '' } }),
    },
    { from },
  );
}
