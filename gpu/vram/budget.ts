export interface BudgetLimits {
  /** Kept free for the driver and the desktop, over what they use now. */
  readonly reserveBytes: number;
  /** Kept free for measurement error and growth. */
  readonly marginBytes: number;
  /** The operator's cap; null for none. */
  readonly capBytes: number | null;
}

/**
 * What other programs use. While one of our models loads or leaves, its share of `usedBytes` is unknown, so the
 * last settled value holds unless even our whole reservation cannot explain what is used.
 */
export function othersBytes(
  usedBytes: number,
  reservedBytes: number,
  settled: boolean,
  lastBytes: number,
): number {
  const unexplained = Math.max(0, usedBytes - reservedBytes);
  return settled ? unexplained : Math.max(lastBytes, unexplained);
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
