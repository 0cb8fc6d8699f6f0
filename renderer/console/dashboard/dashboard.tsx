import { Alert, Anchor, Button, Group, Stack } from '@mantine/core';
import { Flame, TriangleAlert } from 'lucide-react';
import { Link } from 'wouter';
import type { Static } from 'typebox';
import type { SettingsView } from '../../../server/contract/console.ts';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { Page } from '../../ui/page.tsx';
import { Charts } from './charts.tsx';
import { Queue } from './queue.tsx';
import { Timeline } from './timeline.tsx';
import { VramBar } from './vram-bar.tsx';

/** What the card is doing, and for whom. */
export function Dashboard() {
  return (
    <Page title="Dashboard" about="What the card is doing, and for whom.">
      <Stack>
        <Invitation />
        <Alerts />
        <VramBar />
        <Queue />
        <Timeline />
        <Charts />
      </Stack>
    </Page>
  );
}

function Alerts() {
  const alerts = useLive((state) => state.alerts);
  return Object.values(alerts).map(({ id, level, title, advice, page }) => (
    <Alert
      key={id}
      color={level === 'error' ? 'red' : 'yellow'}
      variant="light"
      title={title}
      icon={<TriangleAlert aria-hidden />}
      role="alert"
    >
      <Group justify="space-between" gap="xs">
        {advice}
        {page !== '/' && (
          <Anchor component={Link} href={page} c="inherit" inherit underline="always">
            Look at it
          </Anchor>
        )}
      </Group>
    </Alert>
  ));
}

/** Until the first-run steps are done, the way to them. */
function Invitation() {
  const { data } = useGet<Static<typeof SettingsView>>('/api/settings');
  const isSetUp = data?.find(({ path }) => path === 'operator.isSetUp')?.value;
  if (isSetUp !== false) return null;
  return (
    <Alert variant="light" title="Set this machine up" icon={<Flame aria-hidden />}>
      <Group justify="space-between" gap="xs">
        A few steps from here to the first answer and the first picture. They can be left and taken up at any
        time.
        <Button component={Link} href="/setup" size="xs">
          Begin
        </Button>
      </Group>
    </Alert>
  );
}
