import { Image, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { TryView } from '../../server/contract/console.ts';
import { call } from '../api/client.ts';
import { ActionButton } from '../ui/actions.tsx';
import { duration } from '../ui/format.ts';

/** One real answer or picture. */
export function TryOut({ kind, model }: { kind: 'text' | 'image'; model?: string }) {
  const [made, setMade] = useState<Static<typeof TryView> | null>(null);
  return (
    <Stack>
      <ActionButton
        work={async () => {
          setMade(await call('POST', '/api/try', { kind, ...(model !== undefined && { model }) }));
          return null;
        }}
      >
        {kind === 'text' ? 'Ask it to say hello' : 'Have it paint a kiln at night'}
      </ActionButton>
      {made && (
        <Stack gap="xs" role="status">
          {made.text !== null && <Text>{made.text}</Text>}
          {made.image !== null && (
            <Image src={made.image} radius="md" alt="A kiln at night, as the model painted it" maw={420} />
          )}
          <Text size="sm" c="dimmed">
            By {made.model}, in {duration(made.runMs)} after waiting for {duration(made.queuedMs)}.
          </Text>
        </Stack>
      )}
    </Stack>
  );
}
