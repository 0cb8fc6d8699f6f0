import { Badge } from '@mantine/core';
import type { Static } from 'typebox';
import type { WebhookStateView } from '../../../server/contract/console.ts';
import { useGet } from '../../api/queries.ts';
import { moment } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { type Column, Table } from '../../ui/table.tsx';

type Hook = Static<typeof WebhookStateView>;

export default function WebhooksPage() {
  const query = useGet<Hook[]>('/api/webhooks', { everyMs: 10_000 });
  const columns: readonly Column<Hook>[] = [
    { title: 'Tenant', show: ({ tenantName }) => tenantName },
    { title: 'Told at', width: 'minmax(160px, 2fr)', show: ({ host }) => host },
    {
      title: 'Events',
      width: 'minmax(120px, 2fr)',
      show: ({ events }) => (events.length === 0 ? 'all' : events.join(', ')),
    },
    {
      title: 'State',
      width: 'minmax(150px, 1fr)',
      show: ({ disabledAt, failingSince }) =>
        disabledAt !== null ? (
          <Badge color="red">{`given up ${moment(disabledAt)}`}</Badge>
        ) : failingSince !== null ? (
          <Badge color="yellow" variant="light">{`failing since ${moment(failingSince)}`}</Badge>
        ) : (
          <Badge color="teal" variant="light">
            good
          </Badge>
        ),
    },
    { title: 'Made', width: '140px', show: ({ createdAt }) => moment(createdAt) },
  ];
  return (
    <Page
      title="Webhooks"
      about="Servers of tenants that are told of events. Tenants make, test and replay them over the API; here is whether they answer."
    >
      <Loaded query={query}>
        {(hooks) => (
          <Table
            label="Webhooks"
            columns={columns}
            rows={hooks}
            keyOf={({ id }) => id}
            empty={<Empty title="No tenant wants to be told of anything" />}
          />
        )}
      </Loaded>
    </Page>
  );
}
