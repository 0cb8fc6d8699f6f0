/** A successful answer of /api/v1. */
export function success<Data>(data: Data, message: string | null = null) {
  return { status: 'success' as const, data, message, errors: [] };
}

/** A moment as the API writes it. */
export function moment(at: number): string {
  return new Date(at).toISOString();
}

export function momentOrNull(at: number | null): string | null {
  return at === null ? null : moment(at);
}
