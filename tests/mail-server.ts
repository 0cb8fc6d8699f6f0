import { SMTPServer } from 'smtp-server';

/** A mail server that takes everything, or refuses the first so many messages. */
export class MailServer {
  /** What it took, as it came, without the line breaks that mail adds. */
  readonly received: string[] = [];
  readonly #server: SMTPServer;

  constructor(refuse = 0) {
    let left = refuse;
    this.#server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData: (stream, _session, done) => {
        let text = '';
        stream.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        stream.on('end', () => {
          left -= 1;
          if (left >= 0) return done(new Error('not now'));
          this.received.push(text.replaceAll('=\r\n', '').replaceAll('=3D', '='));
          done();
        });
      },
    });
  }

  /** Listens, and returns the port. */
  start(): Promise<number> {
    return new Promise((resolve) => {
      const listening = this.#server.listen(0, '127.0.0.1', () => {
        const address = listening.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      });
    });
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
