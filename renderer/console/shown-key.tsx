import { Alert, Code, Group, Stack, Text } from '@mantine/core';
import { KeyRound } from 'lucide-react';
import { QRCodeSVG } from 'qrcode.react';
import { useLive } from '../api/live.ts';
import { CopyText } from '../ui/actions.tsx';

/** A key in full, to copy or to take with a phone. */
export function ShownKey({ value }: { value: string }) {
  const tenantUrl = useLive((state) => state.tenantUrl);
  return (
    <Stack>
      <Alert icon={<KeyRound aria-hidden />} title="Keep it now" variant="light">
        It is shown only here; we keep nothing it could be read from.
      </Alert>
      <Group justify="space-between" wrap="nowrap">
        <Code style={{ overflowWrap: 'anywhere' }} data-testid="key">
          {value}
        </Code>
        <CopyText text={value} />
      </Group>
      <Group justify="center">
        <QRCodeSVG value={value} size={168} marginSize={2} title="The key as a QR code" />
      </Group>
      <Group justify="space-between" wrap="nowrap">
        <Text size="sm">
          Programs for OpenAI use it with the base URL <Code>{tenantUrl}/v1</Code>
        </Text>
        <CopyText text={`${tenantUrl}/v1`} label="Copy the URL" />
      </Group>
    </Stack>
  );
}
