import { Stack } from '@mantine/core';
import type { FormEvent, ReactNode } from 'react';

/** Fields under each other, sent by their button or the Enter key, once they hold what they must. */
export function Form({ send, children }: { send: () => void; children: ReactNode }) {
  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        send();
      }}
    >
      <Stack>{children}</Stack>
    </form>
  );
}
