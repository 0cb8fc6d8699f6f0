import {
  Badge,
  Box,
  Button,
  Group,
  Menu,
  Modal,
  NumberInput,
  Paper,
  Progress,
  SegmentedControl,
  Stack,
  Table as PlainTable,
  Text,
  TextInput,
  Title,
  Tooltip,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Check, Download, EllipsisVertical, Pin, Star } from 'lucide-react';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { DownloadView, FoundView, SettingsView } from '../../../server/contract/console.ts';
import type { LeftOutView, PinEffect } from '../../../server/contract/operator.ts';
import { call } from '../../api/client.ts';
import { type LiveView, useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton, useAction } from '../../ui/actions.tsx';
import { Form } from '../../ui/form.tsx';
import { bytes, duration } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { useModelColors } from '../model-colors.ts';
import { TryOut } from '../try-out.tsx';

type Model = LiveView['models'][string];

export default function ModelsPage() {
  const models = useLive((state) => state.models);
  const settings = useGet<Static<typeof SettingsView>>('/api/settings');
  const [isFetching, fetching] = useDisclosure(false);
  const all = Object.values(models).toSorted(
    (a, b) => a.modality.localeCompare(b.modality) || a.id.localeCompare(b.id),
  );
  const setting = (path: string): unknown => settings.data?.find((one) => one.path === path)?.value;
  return (
    <Page
      title="Models"
      about="What the engines offer. Sizes are estimates until a model was loaded once and measured."
      actions={
        <Button leftSection={<Download aria-hidden size={16} />} onClick={fetching.open}>
          Download a model
        </Button>
      }
    >
      {all.length === 0 ? (
        <Empty title="There are no models yet">Download one here, or in LM Studio.</Empty>
      ) : (
        <Paper withBorder>
          <PlainTable.ScrollContainer minWidth={860} type="native">
            <PlainTable verticalSpacing="sm" aria-label="Models">
              <PlainTable.Thead>
                <PlainTable.Tr>
                  <PlainTable.Th>Model</PlainTable.Th>
                  <PlainTable.Th>State</PlainTable.Th>
                  <PlainTable.Th>On disk</PlainTable.Th>
                  <PlainTable.Th>Video memory</PlainTable.Th>
                  <PlainTable.Th>Load</PlainTable.Th>
                  <PlainTable.Th>Work</PlainTable.Th>
                  <PlainTable.Th aria-label="What to do" />
                </PlainTable.Tr>
              </PlainTable.Thead>
              <PlainTable.Tbody>
                {all.map((model) => (
                  <ModelRow
                    key={model.id}
                    model={model}
                    isDefault={[setting('scheduler.defaultText'), setting('scheduler.defaultImage')].includes(
                      model.id,
                    )}
                  />
                ))}
              </PlainTable.Tbody>
            </PlainTable>
          </PlainTable.ScrollContainer>
        </Paper>
      )}
      <IdleTimeout minutes={setting('scheduler.idleUnloadMinutes')} />
      <Downloads />
      <FitMatrix />
      <LeftOut />
      <FetchModal isOpen={isFetching} close={fetching.close} />
    </Page>
  );
}

function ModelRow({ model, isDefault }: { model: Model; isDefault: boolean }) {
  const {
    id,
    modality,
    phase,
    vramBytes,
    measured,
    sizeBytes,
    loadMs,
    running,
    waiting,
    slots,
    pinned,
    spilled,
    obstacle,
    blockedByPins,
  } = model;
  const [isTrying, trying] = useDisclosure(false);
  /** Models that would be refused if this one were pinned, while that is asked. */
  const [blocks, setBlocks] = useState<readonly string[]>([]);
  const colorOf = useModelColors();
  const act = useAction(async (action: string) => {
    const { message } = await call<{ message: string }>(
      'POST',
      `/api/models/${encodeURIComponent(id)}/${action}`,
    );
    return message;
  });
  /** Pins it, or asks first where that makes others unusable. */
  const pin = useAction(async () => {
    const effect = await call<Static<typeof PinEffect>>('GET', `/api/models/${encodeURIComponent(id)}/pin`);
    if (effect.blocks.length > 0) setBlocks(effect.blocks);
    else act.mutate('pin');
    return null;
  });
  const isLoaded = phase !== 'absent';
  return (
    <PlainTable.Tr>
      <PlainTable.Td>
        <Group gap={8} wrap="nowrap">
          <Box w={10} h={10} bg={colorOf(id)} style={{ borderRadius: 3, flex: 'none' }} />
          <div>
            <Group gap={6}>
              <Text size="sm" fw={600}>
                {id}
              </Text>
              {pinned && (
                <Tooltip label="Never unloaded for others">
                  <Pin size={14} role="img" aria-label="pinned" />
                </Tooltip>
              )}
              {isDefault && (
                <Tooltip label={`The default for ${modality}`}>
                  <Star size={14} role="img" aria-label="default" />
                </Tooltip>
              )}
            </Group>
            <Text size="xs" c="dimmed">
              {modality} · {model.engineId}
            </Text>
          </div>
        </Group>
      </PlainTable.Td>
      <PlainTable.Td>
        <Group gap={4}>
          <Badge color={phase === 'ready' ? 'teal' : isLoaded ? 'yellow' : 'gray'}>
            {isLoaded ? phase : 'not loaded'}
          </Badge>
          {obstacle !== null && (
            <Text size="xs" c="dimmed">
              {obstacle}
            </Text>
          )}
          {spilled && <Badge color="red">spilled</Badge>}
          {blockedByPins.length > 0 && (
            <Tooltip label={`No room beside ${blockedByPins.join(', ')}. Requests for it are refused.`}>
              <Badge color="red" tabIndex={0}>
                blocked by pin
              </Badge>
            </Tooltip>
          )}
        </Group>
      </PlainTable.Td>
      <PlainTable.Td>{bytes(sizeBytes)}</PlainTable.Td>
      <PlainTable.Td>
        {bytes(vramBytes)}{' '}
        <Text span size="xs" c="dimmed">
          {measured ? 'measured' : 'estimated'}
        </Text>
      </PlainTable.Td>
      <PlainTable.Td>{duration(loadMs)}</PlainTable.Td>
      <PlainTable.Td>
        {running}/{slots}
        {waiting > 0 && (
          <Text span size="xs" c="dimmed">
            {` +${waiting} waiting`}
          </Text>
        )}
      </PlainTable.Td>
      <PlainTable.Td>
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <Button
            size="xs"
            variant={isLoaded ? 'default' : 'filled'}
            loading={act.isPending || phase === 'loading' || phase === 'unloading'}
            disabled={!isLoaded && obstacle !== null}
            onClick={() => act.mutate(isLoaded ? 'unload' : 'load')}
            aria-label={`${isLoaded ? 'Unload' : 'Load'} ${id}`}
          >
            {isLoaded ? 'Unload' : 'Load'}
          </Button>
          <Menu position="bottom-end">
            <Menu.Target>
              <Button size="xs" px={6} variant="default" aria-label={`More for ${id}`}>
                <EllipsisVertical aria-hidden size={15} />
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item onClick={() => (pinned ? act.mutate('unpin') : pin.mutate())}>
                {pinned ? 'Let it be unloaded for others' : 'Never unload it for others'}
              </Menu.Item>
              {measured && (
                <Menu.Item onClick={() => act.mutate('measure-again')}>Measure its memory again</Menu.Item>
              )}
              {(modality === 'text' || modality === 'image') && (
                <>
                  <Menu.Item onClick={() => act.mutate('default')}>Take it where none is named</Menu.Item>
                  <Menu.Item onClick={trying.open}>Try it</Menu.Item>
                </>
              )}
            </Menu.Dropdown>
          </Menu>
        </Group>
        <Modal opened={blocks.length > 0} onClose={() => setBlocks([])} title={`Pin ${id}?`} centered>
          <Stack>
            <Text size="sm">
              {blocks.join(', ')} {blocks.length === 1 ? 'does' : 'do'} not fit beside it. Requests for{' '}
              {blocks.length === 1 ? 'that model' : 'these models'} will be refused until you unpin {id}.
            </Text>
            <Group justify="flex-end">
              <Button variant="default" onClick={() => setBlocks([])} data-autofocus>
                Cancel
              </Button>
              <Button
                color="red"
                onClick={() => {
                  setBlocks([]);
                  act.mutate('pin');
                }}
              >
                Pin {id}
              </Button>
            </Group>
          </Stack>
        </Modal>
        <Modal opened={isTrying} onClose={trying.close} title={`Try ${id}`} centered>
          {isTrying && (modality === 'text' || modality === 'image') && <TryOut kind={modality} model={id} />}
        </Modal>
      </PlainTable.Td>
    </PlainTable.Tr>
  );
}

/** After how long a model leaves that nobody used. */
function IdleTimeout({ minutes }: { minutes: unknown }) {
  const change = useAction(async (wanted: number | null) => {
    await call('PATCH', '/api/settings', { set: { 'scheduler.idleUnloadMinutes': wanted } });
    return wanted === null
      ? 'Models stay until others need the room.'
      : `Unused models leave after ${wanted} minutes.`;
  });
  if (minutes !== null && typeof minutes !== 'number') return null;
  return (
    <NumberInput
      // Another value is another field: it shows what is in force.
      key={minutes}
      label="Unload what nobody used for (minutes)"
      description="Empty: models stay until others need the room."
      defaultValue={minutes ?? ''}
      min={1}
      allowDecimal={false}
      maw={340}
      onBlur={(event) => {
        const text = event.currentTarget.value;
        const wanted = text === '' ? null : Math.max(1, Math.round(Number(text)));
        if (wanted !== minutes) change.mutate(wanted);
      }}
    />
  );
}

function Downloads() {
  const query = useGet<Static<typeof DownloadView>[]>('/api/downloads', { everyMs: 1_500 });
  const downloads = query.data ?? [];
  if (downloads.length === 0) return null;
  return (
    <Paper withBorder p="md" component="section" aria-label="Downloads">
      <Title order={2} size="h4" mb="sm">
        Downloads
      </Title>
      <Stack>
        {downloads.map(({ id, name, url, state, bytes: there, totalBytes, error }) => {
          const isOpen = ['waiting', 'loading', 'checking'].includes(state);
          const share = totalBytes ? (there / totalBytes) * 100 : 0;
          return (
            <div key={id}>
              <Group justify="space-between" wrap="nowrap">
                <Text size="sm" fw={600} truncate title={url}>
                  {name}
                </Text>
                <Group gap="xs" wrap="nowrap">
                  <Text size="sm" c={error ? 'var(--mantine-color-error)' : 'dimmed'}>
                    {error ??
                      (state === 'loading'
                        ? `${bytes(there)} of ${totalBytes ? bytes(totalBytes) : 'an unknown size'}`
                        : state)}
                  </Text>
                  {isOpen && (
                    <ActionButton
                      size="compact-xs"
                      variant="default"
                      aria-label={`Give up ${name}`}
                      work={async () => {
                        await call('POST', `/api/downloads/${id}/cancel`);
                        return null;
                      }}
                    >
                      Give up
                    </ActionButton>
                  )}
                  {(state === 'failed' || state === 'canceled') && (
                    <ActionButton
                      size="compact-xs"
                      variant="default"
                      aria-label={`Try again to download ${name}`}
                      work={async () => {
                        await call('POST', `/api/downloads/${id}/retry`);
                        return null;
                      }}
                    >
                      Try again
                    </ActionButton>
                  )}
                  {!isOpen && (
                    <ActionButton
                      size="compact-xs"
                      variant="default"
                      aria-label={`Remove the download of ${name}`}
                      work={async () => {
                        await call('DELETE', `/api/downloads/${id}`);
                        return null;
                      }}
                    >
                      Remove
                    </ActionButton>
                  )}
                </Group>
              </Group>
              {isOpen && <Progress value={share} mt={4} aria-label={`Download of ${name}`} animated />}
            </div>
          );
        })}
      </Stack>
    </Paper>
  );
}

/** Asks for an address, and has the file fetched. */
function FetchModal({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  const [kind, setKind] = useState('gguf');
  const [url, setUrl] = useState('');
  const [sha256, setSha256] = useState('');
  const found = useGet<Static<typeof FoundView>>('/api/found', { enabled: isOpen });
  const start = useAction(async () => {
    await call('POST', '/api/downloads', {
      kind,
      url: url.trim(),
      ...(sha256.trim() !== '' && { sha256: sha256.trim() }),
    });
    close();
    setUrl('');
    setSha256('');
    return 'It is being fetched.';
  });
  return (
    <Modal opened={isOpen} onClose={close} title="Download a model" centered size="lg">
      <Form send={() => start.mutate()}>
        <SegmentedControl
          value={kind}
          onChange={setKind}
          aria-label="What it is"
          data={[
            { value: 'gguf', label: 'Text: a GGUF file' },
            { value: 'checkpoint', label: 'Images: a checkpoint' },
          ]}
        />
        <TextInput
          label="Address of the file"
          description="The address of the file itself, over https. On Hugging Face: the arrow beside the file."
          placeholder="https://…/resolve/main/model.Q4_K_M.gguf"
          required
          value={url}
          onChange={(event) => setUrl(event.currentTarget.value)}
          data-autofocus
        />
        <TextInput
          label="SHA-256, if it is known"
          description="The file is only taken when it is this one."
          value={sha256}
          onChange={(event) => setSha256(event.currentTarget.value)}
        />
        {kind === 'gguf' && (
          <Text size="sm" c="dimmed">
            It goes to {found.data?.modelsFolder ?? 'the models folder'}, and the built-in engine serves it.
            What LM Studio is to serve is downloaded in LM Studio.
          </Text>
        )}
        <Group justify="flex-end">
          <Button type="submit" loading={start.isPending}>
            Download
          </Button>
        </Group>
      </Form>
    </Modal>
  );
}

/** Files that lie among the models and are none, or cannot be served. */
function LeftOut() {
  const query = useGet<Static<typeof LeftOutView>[]>('/api/models/left-out');
  const files = query.data ?? [];
  if (files.length === 0) return null;
  return (
    <Paper withBorder p="md" component="section" aria-label="Files left out">
      <Title order={2} size="h4">
        Files left out
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        They lie in the models folder and are not offered.
      </Text>
      <PlainTable.ScrollContainer minWidth={420} type="native">
        <PlainTable aria-label="Files left out">
          <PlainTable.Thead>
            <PlainTable.Tr>
              <PlainTable.Th>File</PlainTable.Th>
              <PlainTable.Th>Why</PlainTable.Th>
            </PlainTable.Tr>
          </PlainTable.Thead>
          <PlainTable.Tbody>
            {files.map(({ engineId, file, reason }) => (
              <PlainTable.Tr key={`${engineId}/${file}`}>
                <PlainTable.Td style={{ overflowWrap: 'anywhere' }}>{file}</PlainTable.Td>
                <PlainTable.Td>{reason}</PlainTable.Td>
              </PlainTable.Tr>
            ))}
          </PlainTable.Tbody>
        </PlainTable>
      </PlainTable.ScrollContainer>
    </Paper>
  );
}

type Fit = { id: string; fits: boolean; beside: string[] };

/** Which models fit on the card together. */
function FitMatrix() {
  const query = useGet<Fit[]>('/api/models/fit');
  return (
    <Paper withBorder p="md" component="section" aria-label="What fits beside what">
      <Title order={2} size="h4">
        What fits beside what
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        Models that fit together are never swapped for each other.
      </Text>
      <Loaded query={query}>
        {(all) => {
          if (all.length < 2)
            return <Text size="sm">With two models or more, this says which go together.</Text>;
          return (
            <PlainTable.ScrollContainer minWidth={420} type="native">
              <PlainTable withColumnBorders aria-label="What fits beside what">
                <PlainTable.Thead>
                  <PlainTable.Tr>
                    <PlainTable.Td />
                    {all.map(({ id }) => (
                      <PlainTable.Th key={id} scope="col" fz="xs">
                        {id}
                      </PlainTable.Th>
                    ))}
                  </PlainTable.Tr>
                </PlainTable.Thead>
                <PlainTable.Tbody>
                  {all.map((row) => (
                    <PlainTable.Tr key={row.id}>
                      <PlainTable.Th scope="row" fz="xs">
                        {row.id}
                      </PlainTable.Th>
                      {all.map((column) => (
                        <PlainTable.Td key={column.id} ta="center">
                          <Cell row={row} column={column} />
                        </PlainTable.Td>
                      ))}
                    </PlainTable.Tr>
                  ))}
                </PlainTable.Tbody>
              </PlainTable>
            </PlainTable.ScrollContainer>
          );
        }}
      </Loaded>
    </Paper>
  );
}

function Cell({ row, column }: { row: Fit; column: Fit }) {
  const isSame = row.id === column.id;
  const fits = isSame ? row.fits : row.beside.includes(column.id);
  if (!fits)
    return (
      <Text span size="sm" c="dimmed">
        {isSame ? 'too large' : 'no'}
      </Text>
    );
  return (
    <Check
      size={16}
      color="var(--mantine-color-teal-6)"
      role="img"
      aria-label={isSame ? 'fits alone' : 'fits'}
    />
  );
}
