import { Alert, Drawer, Group, List, Stack, Text, Title } from '@mantine/core';
import type { Static } from 'typebox';
import type { DecisionView } from '../../../server/contract/operator.ts';
import { call } from '../../api/client.ts';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { duration, moment } from '../../ui/format.ts';
import { Loaded } from '../../ui/page.tsx';
import { wordsOf } from './decision-words.ts';
import type { Item } from './lanes.ts';

type Decision = Static<typeof DecisionView>;

/** Why a piece of work waits: the reason now, and what the scheduler decided about its model since it came. */
export function Why({
  asked,
  close,
}: {
  /** What is asked about, as it was then. */
  asked: Item | null;
  close: () => void;
}) {
  const now = useLive(({ queue }) => (asked === null ? undefined : queue[asked.id]));
  return (
    <Drawer
      opened={asked !== null}
      onClose={close}
      position="right"
      size="md"
      title={
        <Title order={2} size="h4">
          Why is this waiting?
        </Title>
      }
    >
      {asked && <Account item={now ?? asked} isWaiting={now !== undefined} close={close} />}
    </Drawer>
  );
}

function Account({ item, isWaiting, close }: { item: Item; isWaiting: boolean; close: () => void }) {
  const reasons = useLive((state) => state.reasons);
  const names = new Map([[item.tenant, item.tenantName]]);
  const decisions = useGet<Decision[]>('/api/decisions', { everyMs: 2_000 });
  return (
    <Stack>
      <Text>
        {item.feature || 'Work'} of <b>{item.tenantName}</b> on <b>{item.model}</b>, here since{' '}
        {moment(item.since)}.
      </Text>
      {isWaiting ? (
        <Alert variant="light" title={reasons[item.reason] ?? item.reason}>
          {item.startsAt
            ? `It probably starts at ${moment(item.startsAt)}.`
            : 'When it starts is not in the scheduler’s hands.'}
        </Alert>
      ) : (
        <Alert color="teal" variant="light" title="It waits no longer">
          It has begun, or whoever asked has gone.
        </Alert>
      )}
      <Title order={3} size="h5">
        What was decided meanwhile
      </Title>
      <Loaded query={decisions}>
        {(all) => {
          const related = all.filter(({ at, type }) => at >= item.since && type !== 'grant').slice(-25);
          if (related.length === 0)
            return <Text c="dimmed">Nothing: the models on the card have stayed as they are.</Text>;
          return (
            <List spacing={6} size="sm" listStyleType="none">
              {related.toReversed().map((decision) => (
                <List.Item key={decision.sequence}>
                  <Text span c="dimmed" size="sm">
                    {moment(decision.at)}
                  </Text>{' '}
                  {wordsOf(decision, names)}
                  {decision.tookMs !== null && (
                    <Text span c="dimmed" size="sm">
                      {` (${duration(decision.tookMs)})`}
                    </Text>
                  )}
                </List.Item>
              ))}
            </List>
          );
        }}
      </Loaded>
      {isWaiting && (
        <Group>
          <ActionButton
            variant="default"
            work={async () => {
              await call('DELETE', `/api/queue/${item.id}`);
              close();
              return 'Taken out of the queue.';
            }}
            confirm={{
              title: 'Take it out',
              text: 'Whoever asked is told that the operator took the request out of the queue. Nothing is charged.',
            }}
          >
            Take it out of the queue
          </ActionButton>
        </Group>
      )}
    </Stack>
  );
}
