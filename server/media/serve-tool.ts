import { type ToolReply, ToolRefusal } from './tool-process.ts';

/** The other side of a ToolProcess: answers each request, and ends when whoever started it is gone. */
export function serveTool(work: (request: never) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message: { id: number; request: never }) => {
    const { id } = message;
    const reply = (said: ToolReply): void => void process.send?.(said);
    work(message.request).then(
      (answer) => reply({ id, answer }),
      (error: unknown) => {
        if (error instanceof ToolRefusal) reply({ id, refusal: error.message });
        else reply({ id, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      },
    );
  });
}
