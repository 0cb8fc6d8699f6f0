import { type ToolReply, ToolRefusal } from './tool-process.ts';

/** The other side of a ToolProcess: answers each request, and ends when whoever started it is gone. */
export function serveTool(work: (request: never) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (request: unknown) => {
    const reply = (said: ToolReply): void => void process.send?.(said);
    // What comes in is what our own side of the channel was given.
    work(request as never).then(
      (answer) => reply({ answer }),
      (error: unknown) => {
        if (error instanceof ToolRefusal) reply({ refusal: error.message });
        else reply({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      },
    );
  });
}
