import type { ButtonProps } from '@mantine/core';
import { call } from '../api/client.ts';
import { ActionButton } from '../ui/actions.tsx';

/** Starts the appliance anew; the page comes back by itself. */
export function RestartButton(button: ButtonProps) {
  return (
    <ActionButton
      {...button}
      work={async () => {
        const { message } = await call<{ message: string }>('POST', '/api/restart');
        return message;
      }}
      confirm={{
        title: 'Restart',
        text: 'Requests that are open now are cut, and cost nothing. Jobs go on where they are.',
      }}
    >
      Restart
    </ActionButton>
  );
}
