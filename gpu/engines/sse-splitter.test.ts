import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EngineError } from './engine-error.ts';
import { eventData, SseSplitter } from './sse-splitter.ts';

const lineEnd = fc.constantFrom('\n', '\r\n');
const event = fc
  .tuple(
    fc.array(
      fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/[\r\n]/g, '')),
      { minLength: 1 },
    ),
    lineEnd,
  )
  .map(([lines, end]) => lines.map((line) => `data: ${line}${end}`).join('') + end);

test('cut anywhere, the events that come out are the bytes that went in, at event boundaries', () => {
  fc.assert(
    fc.property(fc.array(event), fc.array(fc.nat(200)), (events, cuts) => {
      const whole = Buffer.from(events.join(''));
      const splitter = new SseSplitter();
      const out: Buffer[] = [];
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        out.push(...splitter.push(whole.subarray(at, at + cut)));
        at = Math.min(whole.length, at + cut);
      }
      expect(Buffer.concat([...out, splitter.rest()]).equals(whole)).toBe(true);
      expect(out.map(String)).toEqual(events);
    }),
    { numRuns: 1_000 },
  );
});

test('F20: an endless line is refused instead of kept', () => {
  const splitter = new SseSplitter(1_000);
  expect(() => splitter.push(Buffer.alloc(1_001, 'x'))).toThrow(EngineError);
});

test('the data of an event is its data lines, joined', () => {
  expect(eventData(Buffer.from('event: x\ndata: one\ndata:two\r\n\r\n'))).toBe('one\ntwo');
  expect(eventData(Buffer.from(': comment\n\n'))).toBeNull();
});
