/** Something before one @, something with a dot behind it, no spaces or control characters; nothing more is certain. */
const shape = /^[^\s@\p{C}]{1,64}@[^\s@\p{C}]{1,190}\.[^\s@\p{C}.]{2,63}$/u;

/**
 * An e-mail address as we compare it: composed and in small letters, so that twins that look alike are one (F41).
 * Null for what is none.
 */
export function normaliseEmail(text: string): string | null {
  const email = text.trim().normalize('NFKC').toLowerCase();
  return shape.test(email) ? email : null;
}
