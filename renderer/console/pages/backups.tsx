import { Alert, Group } from '@mantine/core';
import { Archive } from 'lucide-react';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { BackupView } from '../../../server/contract/console.ts';
import { call } from '../../api/client.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { bytes, count, moment } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { RestartButton } from '../restart-button.tsx';

type Backup = Static<typeof BackupView>;

export default function BackupsPage() {
  const query = useGet<Backup[]>('/api/backups', { everyMs: 30_000 });
  const [staged, setStaged] = useState<string | null>(null);
  const columns: readonly Column<Backup>[] = [
    { title: 'Of', width: 'minmax(140px, 1fr)', show: ({ at }) => moment(at) },
    { title: 'Size', width: '90px', end: true, show: (backup) => bytes(backup.bytes) },
    {
      title: 'Ledger',
      width: '140px',
      end: true,
      show: ({ ledgerEntries }) => `${count(ledgerEntries)} entries`,
    },
    { title: 'Files', width: '80px', show: ({ withFiles }) => (withFiles ? 'with' : 'without') },
    {
      title: 'Do',
      width: '210px',
      end: true,
      show: ({ id, at }) => (
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <ActionButton
            size="compact-xs"
            variant="default"
            aria-label={`Check the backup of ${moment(at)}`}
            work={async () => {
              const { ok, faults } = await call<{ ok: boolean; faults: string[] }>(
                'POST',
                `/api/backups/${id}/verify`,
              );
              if (!ok) throw new Error(faults.join(' '));
              return 'It is good: every file, every page, every credit.';
            }}
          >
            Check
          </ActionButton>
          <ActionButton
            size="compact-xs"
            variant="default"
            aria-label={`Go back to the backup of ${moment(at)}`}
            work={async () => {
              await call('POST', `/api/backups/${id}/restore`);
              setStaged(id);
              return null;
            }}
            confirm={{
              title: 'Go back to it',
              text: `At the next start, everything is as it was on ${moment(at)}. What there is now is kept beside it.`,
            }}
          >
            Go back to it
          </ActionButton>
        </Group>
      ),
    },
  ];
  return (
    <Page
      title="Backups"
      about="One a day, kept for thirty; tenants’ files of the last week once a week. Each is read back before it counts."
      actions={
        <ActionButton
          leftSection={<Archive aria-hidden size={16} />}
          work={async () => {
            const made = await call<Backup>('POST', '/api/backups');
            return `It is there and was read back: ${bytes(made.bytes)}.`;
          }}
        >
          Back up now
        </ActionButton>
      }
    >
      {staged !== null && (
        <Alert title="It goes back at the next start" variant="light" color="yellow">
          <Group justify="space-between">
            Restart now, or later.
            <RestartButton />
          </Group>
        </Alert>
      )}
      <Loaded query={query}>
        {(backups) => (
          <Table
            label="Backups"
            columns={columns}
            rows={backups}
            keyOf={({ id }) => id}
            empty={
              <Empty title="There is no backup yet">The first is made soon after the first start.</Empty>
            }
          />
        )}
      </Loaded>
    </Page>
  );
}
