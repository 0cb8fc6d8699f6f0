// Loaded into the appliance before anything else: its wall clock is off by what a file says, in milliseconds.
import { readFileSync } from 'node:fs';

const file = process.env.CLOCK_OFFSET_FILE;
const real = Date.now;
const RealDate = Date;
const offset = () => Number(readFileSync(file, 'utf8'));
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(real() + offset());
    else super(...args);
  }
  static now() {
    return real() + offset();
  }
};
