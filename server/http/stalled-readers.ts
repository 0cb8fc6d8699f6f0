import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Cuts the connections of readers who take nothing of what they are sent for so long (S2), whatever answer it is: a
 * file, an archive, a table, an event stream. A connection on which nothing is to be sent may be silent for as long as
 * its answer takes. Node looks at pieces that are half written, so that a slow reader of a large one is not cut.
 *
 * `answerOn` names the latest answer on a connection. One that is finished leaves the connection idle: then the time
 * was that of keep-alive, and the connection is closed as Node would have closed it.
 */
export function cutStalledReaders(
  server: Server,
  afterMs: number,
  answerOn: (socket: Socket) => ServerResponse | undefined,
): void {
  server.setTimeout(afterMs, (socket: Socket) => {
    const answer = answerOn(socket);
    const isBeingMade = answer !== undefined && !answer.writableFinished && socket.writableLength === 0;
    // Node looks again once something moved, and what is written next moves it.
    if (!isBeingMade) socket.destroy();
  });
}
