import { Anchor, Badge, Button, Group, Modal, Select, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue, useDisclosure } from '@mantine/hooks';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import type { Static } from 'typebox';
import { Link, useLocation } from 'wouter';
import type { TenantsView, TenantView } from '../../../server/contract/operator-accounts.ts';
import { call } from '../../api/client.ts';
import { useGet, usePages } from '../../api/queries.ts';
import { useAction } from '../../ui/actions.tsx';
import { Form } from '../../ui/form.tsx';
import { count } from '../../ui/format.ts';
import { Empty, Page, Problem, Waiting } from '../../ui/page.tsx';
import { type Column, Table } from '../../ui/table.tsx';

type Tenant = Static<typeof TenantView>;

const columns: readonly Column<Tenant>[] = [
  {
    title: 'Tenant',
    width: 'minmax(160px, 2fr)',
    show: ({ id, name, kind }) =>
      kind === 'account' ? (
        <Anchor component={Link} href={`/tenants/${id}`} size="sm" fw={600}>
          {name}
        </Anchor>
      ) : (
        <>
          {name}{' '}
          <Text span size="xs" c="dimmed">
            in tenants.json
          </Text>
        </>
      ),
  },
  { title: 'Plan', show: ({ plan }) => plan },
  {
    title: 'State',
    show: ({ disabled }) => (
      <Badge color={disabled ? 'red' : 'teal'}>{disabled ? 'suspended' : 'active'}</Badge>
    ),
  },
  { title: 'Keys', width: '70px', end: true, show: ({ keys }) => keys },
  { title: 'Open now', width: '90px', end: true, show: ({ open }) => open },
  {
    title: 'Credits',
    width: '110px',
    end: true,
    show: ({ available }) => (available === null ? '–' : count(available)),
  },
];

export default function TenantsPage() {
  const [isMaking, making] = useDisclosure(false);
  const [search, setSearch] = useState('');
  const [asked] = useDebouncedValue(search.trim(), 200);
  const { query, rows, more, first } = usePages<Tenant, Static<typeof TenantsView>>(
    '/api/tenants',
    { search: asked },
    { everyMs: 5_000 },
  );
  return (
    <Page
      title="Tenants and keys"
      about="Who may use this machine. Each has a plan, keys and credits of its own."
      actions={
        <Button leftSection={<Plus aria-hidden size={16} />} onClick={making.open}>
          New tenant
        </Button>
      }
    >
      <Stack>
        {first && first.file.problem !== null && (
          <Problem error={new Error(`${first.file.path}: ${first.file.problem}`)} />
        )}
        {(rows.length > 8 || search !== '') && (
          <TextInput
            label="Search by name"
            value={search}
            onChange={(event) => setSearch(event.currentTarget.value)}
            maw={320}
          />
        )}
        {query.isError && <Problem error={query.error} retry={() => void query.refetch()} />}
        {query.isPending && <Waiting />}
        {first && (
          <Table
            label="Tenants"
            columns={columns}
            rows={rows}
            more={more}
            keyOf={({ id }) => id}
            empty={
              asked === '' ? (
                <Empty title="There are no tenants yet">
                  Make one here, or name keys in <code>{first.file.path}</code>.
                </Empty>
              ) : (
                <Empty title={`No tenant is called "${asked}"`}>
                  The search looks at all tenants, by name.
                </Empty>
              )
            }
          />
        )}
      </Stack>
      <NewTenant isOpen={isMaking} close={making.close} />
    </Page>
  );
}

function NewTenant({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  const [, go] = useLocation();
  const [name, setName] = useState('');
  const [plan, setPlan] = useState<string | null>(null);
  const plans = useGet<Record<string, unknown>>('/api/plans', { enabled: isOpen });
  const make = useAction(async () => {
    const { id } = await call<Tenant>('POST', '/api/tenants', {
      name: name.trim(),
      ...(plan !== null && { plan }),
    });
    close();
    go(`/tenants/${id}`);
    return `${name.trim()} is there. Give it a key.`;
  });
  return (
    <Modal opened={isOpen} onClose={close} title="New tenant" centered>
      <Form send={() => make.mutate()}>
        <TextInput
          label="Name"
          required
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          data-autofocus
        />
        <Select
          label="Plan"
          placeholder="The plan of new companies"
          data={Object.keys(plans.data ?? {})}
          value={plan}
          onChange={setPlan}
          clearable
        />
        <Group justify="flex-end">
          <Button type="submit" loading={make.isPending}>
            Make it
          </Button>
        </Group>
      </Form>
    </Modal>
  );
}
