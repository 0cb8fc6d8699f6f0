import { type Fitting, sharesOnePlace } from './fit.ts';

/**
 * The pins that leave no room for a model: those in its place, where its engine holds one model at a time, or all of
 * them, where it does not fit beside them together. Empty when it fits, and when it is too large even alone.
 */
function pinsInTheWay(model: Fitting, pins: readonly Fitting[], capacityBytes: number): Fitting[] {
  const others = pins.filter(({ id }) => id !== model.id);
  if (model.vramBytes > capacityBytes) return [];
  const rivals = others.filter((pin) => sharesOnePlace(model, pin));
  if (rivals.length > 0) return rivals;
  const pinnedBytes = others.reduce((sum, { vramBytes }) => sum + vramBytes, 0);
  return pinnedBytes + model.vramBytes > capacityBytes ? others : [];
}

/** Which models have no room beside a set of pins, and the pins in the way of each: before somebody sets them. */
export function blockedByPins(
  models: readonly Fitting[],
  pinned: ReadonlySet<string>,
  capacityBytes: number,
): ReadonlyMap<string, readonly string[]> {
  const pins = models.filter(({ id }) => pinned.has(id));
  const blocked = new Map<string, readonly string[]>();
  for (const model of models) {
    const inTheWay = pinsInTheWay(model, pins, capacityBytes);
    if (inTheWay.length > 0)
      blocked.set(
        model.id,
        inTheWay.map(({ id }) => id),
      );
  }
  return blocked;
}
