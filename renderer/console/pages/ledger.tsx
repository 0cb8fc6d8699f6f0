import { Alert, Badge, Paper, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { ShieldAlert, ShieldCheck } from 'lucide-react';
import type { Static } from 'typebox';
import type { OrdersPage, ProofView } from '../../../server/contract/operator-accounts.ts';
import { useGet } from '../../api/queries.ts';
import { count, moment } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { PagedTable } from '../../ui/paged-table.tsx';
import type { Column } from '../../ui/table.tsx';

type Order = Static<typeof OrdersPage>['items'][number];

export default function LedgerPage() {
  const proof = useGet<Static<typeof ProofView>>('/api/ledger');
  const columns: readonly Column<Order>[] = [
    { title: 'When', width: '140px', show: ({ createdAt }) => moment(createdAt) },
    { title: 'Tenant', show: ({ tenantName }) => tenantName },
    { title: 'What', show: ({ kind, item }) => `${kind}: ${item}` },
    { title: 'Credits', width: '90px', end: true, show: ({ credits }) => count(credits) },
    {
      title: 'Amount',
      width: '110px',
      end: true,
      show: ({ amountCents, currency }) => `${(amountCents / 100).toFixed(2)} ${currency.toUpperCase()}`,
    },
    {
      title: 'State',
      width: '110px',
      show: ({ status, problem }) => (
        <Badge
          variant="light"
          color={problem !== null || status === 'disputed' ? 'red' : status === 'paid' ? 'teal' : 'gray'}
        >
          {status}
        </Badge>
      ),
    },
  ];
  return (
    <Page
      title="Ledger"
      about="Every credit that came in is there or went out: added up anew each time you look."
    >
      <Loaded query={proof}>
        {({ ok, faults, entries, accounts, granted, spent, takenBack, expired, balances, held }) => (
          <Stack>
            {ok ? (
              <Alert color="teal" variant="light" icon={<ShieldCheck aria-hidden />} title="It adds up">
                {count(entries)} entries of {count(accounts)} accounts.
              </Alert>
            ) : (
              <Alert color="red" icon={<ShieldAlert aria-hidden />} title="It does not add up" role="alert">
                {faults.join(' ')} Restore a backup, or ask for help with the diagnostics file.
              </Alert>
            )}
            <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }}>
              {(
                [
                  ['Granted', granted],
                  ['Spent', spent],
                  ['Taken back', takenBack],
                  ['Expired', expired],
                  ['Balances', balances],
                  ['Held', held],
                ] as const
              ).map(([name, value]) => (
                <Paper key={name} withBorder p="sm">
                  <Text size="xs" c="dimmed">
                    {name}
                  </Text>
                  <Text fw={700} size="lg">
                    {count(value)}
                  </Text>
                </Paper>
              ))}
            </SimpleGrid>
          </Stack>
        )}
      </Loaded>
      <section>
        <Title order={2} size="h4" mb="xs">
          Orders
        </Title>
        <PagedTable
          path="/api/orders"
          label="Orders"
          columns={columns}
          keyOf={({ id }) => id}
          empty={
            <Empty title="Nobody has paid yet">
              Payments are set up in the settings, with Stripe’s keys.
            </Empty>
          }
        />
      </section>
    </Page>
  );
}
