import { Code, Group, Paper, Stack, Text, Title } from '@mantine/core';
import { FileDown } from 'lucide-react';
import { saveAs } from '../../api/client.ts';
import { useLive } from '../../api/live.ts';
import { keepSession } from '../../api/session.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { bytes } from '../../ui/format.ts';
import { Page } from '../../ui/page.tsx';
import { RestartButton } from '../restart-button.tsx';

export default function AboutPage() {
  const version = useLive((state) => state.version);
  const tenantUrl = useLive((state) => state.tenantUrl);
  const card = useLive(({ machine }) => machine?.card);
  return (
    <Page title="About" about="This appliance, and what to send when something is wrong with it.">
      <Paper withBorder p="md" component="section" aria-label="This appliance">
        <Stack gap={6}>
          <Text>
            Kilnhouse <b>{version}</b>
          </Text>
          <Text size="sm">
            Tenant API: <Code>{tenantUrl}</Code>, described at <Code>{`${tenantUrl}/docs`}</Code>
          </Text>
          <Text size="sm" c="dimmed">
            {card
              ? `${card.name}, ${bytes(card.totalBytes)}, driver ${card.driver ?? 'unknown'}`
              : 'No NVIDIA card is read.'}
          </Text>
        </Stack>
      </Paper>
      <Paper withBorder p="md" component="section" aria-label="Diagnostics">
        <Stack align="flex-start">
          <Title order={2} size="h4">
            Diagnostics
          </Title>
          <Text size="sm" maw={640}>
            One archive with versions, settings, the state, and logs. Secrets are not in it, nor what tenants
            wrote. Look through it before you send it.
          </Text>
          <ActionButton
            leftSection={<FileDown aria-hidden size={16} />}
            work={async () => {
              await saveAs('/api/diagnostics', 'kilnhouse-diagnostics.zip');
              return null;
            }}
          >
            Save the archive
          </ActionButton>
        </Stack>
      </Paper>
      <Group>
        <RestartButton variant="default" />
        <ActionButton
          variant="default"
          work={async () => {
            keepSession(null);
            return null;
          }}
        >
          Leave the console
        </ActionButton>
      </Group>
    </Page>
  );
}
