export interface BudgetLimits {
  /** Kept free for the driver and the desktop, over what they use now. */
  readonly reserveBytes: number;
  /** Kept free for measurement error and growth. */
  readonly marginBytes: number;
  /** The operator's cap; null for none. */
  readonly capBytes: number | null;
}

/** How the memory in use is divided between other programs and ours. */
export interface Shares {
  readonly othersBytes: number;
  /** What our engines hold beyond what is reserved for their models: their own contexts, and a picture in work. */
  readonly excessBytes: number;
}

/** A rise of this much while our engines work is their working memory, where the driver does not say whose it is. */
const workingAllowanceBytes = 1.25 * 1024 ** 3;

/**
 * Divides what is in use. Where the driver says what our processes hold, that is ours and all else is others'. Where it
 * does not (Windows), what is above the reservations is others', except that nothing is known while a model loads or
 * leaves, and that a small rise while our engines work is their own.
 */
export function sharesOf(now: {
  readonly usedBytes: number;
  readonly reservedBytes: number;
  /** What our processes hold; null where the driver does not say. */
  readonly ownBytes: number | null;
  readonly isSettled: boolean;
  readonly isWorking: boolean;
  readonly lastOthersBytes: number;
}): Shares {
  const { usedBytes, reservedBytes, ownBytes, isSettled, isWorking, lastOthersBytes } = now;
  // Far below what is loaded: some process of an engine was not recognised, and would count as a stranger's.
  const isWhole = ownBytes !== null && (!isSettled || ownBytes * 2 >= reservedBytes);
  if (isWhole) {
    return {
      othersBytes: Math.max(0, usedBytes - ownBytes),
      excessBytes: Math.max(0, ownBytes - reservedBytes),
    };
  }
  const unexplained = Math.max(0, usedBytes - reservedBytes);
  if (!isSettled) return { othersBytes: Math.max(lastOthersBytes, unexplained), excessBytes: 0 };
  const rise = unexplained - lastOthersBytes;
  if (isWorking && rise > 0 && rise <= workingAllowanceBytes) {
    return { othersBytes: lastOthersBytes, excessBytes: rise };
  }
  return { othersBytes: unexplained, excessBytes: 0 };
}

/**
 * The budget, with what our own engines hold beyond their reservations: that leaves less room for another model, but
 * never takes the room of one that is loaded.
 */
export function budgetBeside(
  totalBytes: number,
  { othersBytes, excessBytes }: Shares,
  reservedBytes: number,
  limits: BudgetLimits,
): number {
  const room = budgetBytes(totalBytes, othersBytes, limits);
  return Math.max(0, Math.min(room, Math.max(reservedBytes, room - excessBytes)));
}

/** budget = total - reserve - other programs - margin, never over the cap, never below zero. */
export function budgetBytes(totalBytes: number, others: number, limits: BudgetLimits): number {
  const room = totalBytes - limits.reserveBytes - others - limits.marginBytes;
  return Math.max(0, Math.min(room, limits.capBytes ?? room));
}

/** The budget of a card nobody else uses: a model above it can never be loaded here. */
export function capacityBytes(totalBytes: number, limits: BudgetLimits): number {
  return budgetBytes(totalBytes, 0, limits);
}
