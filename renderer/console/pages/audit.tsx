import { Code, Group, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import type { Static } from 'typebox';
import { useSearchParams } from 'wouter';
import type { AuditPage as Answer } from '../../../server/contract/operator-accounts.ts';
import { saveAs } from '../../api/client.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { moment } from '../../ui/format.ts';
import { Empty, Page } from '../../ui/page.tsx';
import { PagedTable } from '../../ui/paged-table.tsx';
import type { Column } from '../../ui/table.tsx';

type Entry = Static<typeof Answer>['items'][number];

const columns: readonly Column<Entry>[] = [
  { title: 'When', width: '140px', show: ({ at }) => moment(at) },
  { title: 'Who', width: 'minmax(110px, 1fr)', show: ({ actorKind, actor }) => actor ?? actorKind },
  { title: 'Did what', width: 'minmax(130px, 1fr)', show: ({ action }) => action },
  { title: 'To what', width: 'minmax(120px, 1fr)', show: ({ target }) => target ?? '–' },
  {
    title: 'From and to',
    width: 'minmax(200px, 2fr)',
    show: ({ before, after }) =>
      (before !== null || after !== null) && (
        <Code>{[before, after].map((side) => (side === null ? '–' : JSON.stringify(side))).join(' → ')}</Code>
      ),
  },
  { title: 'Why', width: 'minmax(100px, 1fr)', show: ({ reason }) => reason ?? '' },
];

export default function AuditPage() {
  const [given] = useSearchParams();
  const [tenant, setTenant] = useState(given.get('tenant') ?? '');
  const [action, setAction] = useState('');
  const [filter] = useDebouncedValue({ tenant, action }, 300);
  return (
    <Page
      title="Audit"
      about="Who did what to whom. Nothing is ever changed or taken out of it."
      actions={
        <ActionButton
          variant="default"
          work={async () => {
            await saveAs('/api/audit?format=csv', 'audit.csv');
            return null;
          }}
        >
          All as CSV
        </ActionButton>
      }
    >
      <Stack>
        <Group>
          <TextInput
            label="Tenant’s id"
            value={tenant}
            onChange={(event) => setTenant(event.currentTarget.value)}
          />
          <TextInput
            label="Action"
            placeholder="key.*"
            value={action}
            onChange={(event) => setAction(event.currentTarget.value)}
          />
        </Group>
        <PagedTable
          path="/api/audit"
          filter={filter}
          label="Audit log"
          columns={columns}
          keyOf={({ sequence }) => sequence}
          empty={<Empty title="Nothing of that kind was done" />}
        />
      </Stack>
    </Page>
  );
}
