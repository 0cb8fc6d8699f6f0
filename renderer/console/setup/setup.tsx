import {
  Alert,
  Button,
  Code,
  Group,
  List,
  NumberInput,
  Paper,
  Stack,
  Stepper,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { CircleCheck, CircleDashed, Cpu, Gauge, Globe, KeyRound, Sparkles } from 'lucide-react';
import { useState } from 'react';
import type { Static } from 'typebox';
import { Link, useLocation } from 'wouter';
import type { FoundView, SettingsView } from '../../../server/contract/console.ts';
import type { MadeKeyView } from '../../../server/contract/accounts.ts';
import type { TenantsView } from '../../../server/contract/operator-accounts.ts';
import { call } from '../../api/client.ts';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton, useAction } from '../../ui/actions.tsx';
import { Form } from '../../ui/form.tsx';
import { bytes } from '../../ui/format.ts';
import { Loaded, Page } from '../../ui/page.tsx';
import { VramBar } from '../dashboard/vram-bar.tsx';
import { Lan, TunnelCard } from '../pages/network.tsx';
import { ShownKey } from '../shown-key.tsx';
import { TryOut } from '../try-out.tsx';
import { RestartButton } from '../restart-button.tsx';

/** From a machine to the first answer and the first picture. Each step can be skipped, and taken up again. */
export default function SetupPage() {
  const [step, setStep] = useState(0);
  const [, go] = useLocation();
  const finish = useAction(async () => {
    await call('PATCH', '/api/settings', { set: { 'operator.isSetUp': true } });
    go('/');
    return 'This machine is set up.';
  });
  const next = (): void => setStep((now) => now + 1);
  const steps = [
    { title: 'The machine', icon: Cpu, content: <Machine /> },
    { title: 'Its memory', icon: Gauge, content: <Budget /> },
    { title: 'A tenant', icon: KeyRound, content: <FirstTenant /> },
    { title: 'Try it', icon: Sparkles, content: <Proof /> },
    { title: 'The way in', icon: Globe, content: <WayIn /> },
  ];
  return (
    <Page
      title="First run"
      about="A few steps; none of them blocks. What is done stays done when you leave."
      actions={
        <Button component={Link} href="/" variant="default">
          Later
        </Button>
      }
    >
      <Stepper active={step} onStepClick={setStep} allowNextStepsSelect size="sm">
        {steps.map(({ title, icon: Icon, content }) => (
          <Stepper.Step key={title} label={title} icon={<Icon aria-hidden size={17} />}>
            <Stack mt="md">{content}</Stack>
          </Stepper.Step>
        ))}
      </Stepper>
      <Group justify="space-between">
        <Button variant="default" disabled={step === 0} onClick={() => setStep((now) => now - 1)}>
          Back
        </Button>
        {step < steps.length - 1 ? (
          <Button onClick={next}>Next</Button>
        ) : (
          <Button loading={finish.isPending} onClick={() => finish.mutate()}>
            Done
          </Button>
        )}
      </Group>
    </Page>
  );
}

function Machine() {
  const found = useGet<Static<typeof FoundView>>('/api/found', { everyMs: 15_000 });
  const engines = useLive((state) => state.engines);
  const models = useLive((state) => state.models);
  const gpu = useLive((state) => state.gpu);
  const card = useLive(({ machine }) => machine?.card);
  const isDemo = useLive(({ demo }) => demo);
  return (
    <Paper withBorder p="md" component="section" aria-label="What was found">
      <Stack>
        <Title order={2} size="h4">
          What was found
        </Title>
        <List spacing="xs">
          <List.Item icon={mark(card !== null && card !== undefined)}>
            {card
              ? `${card.name} with ${bytes(card.totalBytes)}`
              : `No NVIDIA card can be read; ${bytes(gpu.totalBytes)} are planned with (gpu.declaredMib in the settings).`}
          </List.Item>
          <Loaded query={found}>
            {({ lmStudio, webui, ggufFiles, modelsFolder, installs }) => (
              <>
                <List.Item icon={mark(lmStudio !== null)}>
                  {lmStudio
                    ? `LM Studio, ${lmStudio.running ? 'running' : 'installed'}, for text`
                    : 'No LM Studio. Install it from lmstudio.ai for the widest choice of text models.'}
                </List.Item>
                <List.Item icon={mark(webui !== null)}>
                  {webui
                    ? `A Stable Diffusion web UI${webui.folder ? ` in ${webui.folder}` : ` on port ${webui.port}`}, for images`
                    : 'No Stable Diffusion web UI runs. Set webui.folder in the settings to have one started.'}
                </List.Item>
                {installs.map((install) => (
                  <List.Item key={install.path} icon={mark(install.usable)}>
                    <Found install={install} isUsed={webui?.folder === install.path} />
                  </List.Item>
                ))}
                <List.Item icon={mark(ggufFiles)}>
                  {ggufFiles
                    ? `GGUF files in ${modelsFolder}, for the built-in llama.cpp`
                    : `No GGUF files in ${modelsFolder}. The built-in llama.cpp serves any that is put there or downloaded.`}
                </List.Item>
              </>
            )}
          </Loaded>
          <List.Item icon={mark(Object.keys(models).length > 0)}>
            {Object.keys(engines).length} engines with {Object.keys(models).length} models answer now.
          </List.Item>
        </List>
        {isDemo && (
          <Alert variant="light" title="Stand-ins answer for now">
            Nothing was found to run models with, so stand-ins do: everything can be tried out, and no answer
            is real. With the first engine or GGUF file, restart to leave the demo.
            <Group mt="xs">
              <Button component={Link} href="/models" size="xs" variant="default">
                Download a model
              </Button>
              <RestartButton size="xs" variant="default" />
            </Group>
          </Alert>
        )}
      </Stack>
    </Paper>
  );
}

const titles: Readonly<Record<string, string>> = {
  automatic1111: 'AUTOMATIC1111',
  forge: 'Forge',
  sdnext: 'SD.Next',
  comfyui: 'ComfyUI',
  'sd-server': 'stable-diffusion.cpp’s server',
};

/** A program for images that lies here: taken for the one to start, where that can be. */
function Found({
  install: { kind, path, usable },
  isUsed,
}: {
  install: Static<typeof FoundView>['installs'][number];
  isUsed: boolean;
}) {
  return (
    <Group gap="xs">
      <span>
        {titles[kind] ?? kind} in <Code>{path}</Code>
        {!usable && ', which Kilnhouse cannot steer yet'}
      </span>
      {usable && !isUsed && (
        <ActionButton
          size="compact-xs"
          variant="default"
          aria-label={`Use ${titles[kind] ?? kind} in ${path}`}
          work={async () => {
            await call('PATCH', '/api/settings', { set: { 'webui.folder': path } });
            return 'It is started with the next start of the appliance.';
          }}
        >
          Use it
        </ActionButton>
      )}
    </Group>
  );
}

/** There, or not there. */
function mark(isThere: boolean) {
  return isThere ? (
    <CircleCheck aria-hidden size={18} color="var(--mantine-color-teal-6)" />
  ) : (
    <CircleDashed aria-hidden size={18} opacity={0.6} />
  );
}

/** How much of the card may be used: proposed by the settings' defaults, changed at once. */
function Budget() {
  const settings = useGet<Static<typeof SettingsView>>('/api/settings');
  const change = useAction(async (set: object) => {
    await call('PATCH', '/api/settings', { set });
    return 'That is kept free from now on.';
  });
  const reserve = settings.data?.find(({ path }) => path === 'gpu.reserveMib')?.value;
  return (
    <Stack>
      <VramBar />
      <Text size="sm">
        The desktop and other programs come first: what they use is measured every second, and what is kept
        free is on top of that. More for a machine that is also played on, less for one that only serves.
      </Text>
      {typeof reserve === 'number' && (
        <NumberInput
          label="Keep free beside what others use (MiB)"
          defaultValue={reserve}
          min={0}
          step={128}
          maw={340}
          allowDecimal={false}
          onBlur={(event) => {
            const given = Number(event.currentTarget.value);
            if (Number.isFinite(given) && given !== reserve) change.mutate({ 'gpu.reserveMib': given });
          }}
        />
      )}
    </Stack>
  );
}

function FirstTenant() {
  const [name, setName] = useState('');
  const [key, setKey] = useState<string | null>(null);
  const tenants = useGet<Static<typeof TenantsView>>('/api/tenants?limit=100');
  const make = useAction(async () => {
    const { id } = await call<{ id: string }>('POST', '/api/tenants', { name: name.trim() });
    const made = await call<Static<typeof MadeKeyView>>('POST', `/api/tenants/${id}/keys`, {
      name: 'first key',
    });
    setKey(made.key);
    return null;
  });
  if (key !== null) return <ShownKey value={key} />;
  const withKeys = (tenants.data?.items ?? []).filter(({ keys }) => keys > 0).slice(0, 3);
  return (
    <Stack>
      {withKeys.length > 0 && (
        <Text size="sm">
          There are keys already, of {withKeys.map((one) => one.name).join(', ')}. One more does no harm.
        </Text>
      )}
      <Form send={() => make.mutate()}>
        <Group align="flex-end">
          <TextInput
            label="Who is to use this machine?"
            description="A family, a class, a company: whoever shares a plan and credits."
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            miw={300}
          />
          <Button type="submit" loading={make.isPending}>
            Make the tenant and its first key
          </Button>
        </Group>
      </Form>
    </Stack>
  );
}

function Proof() {
  return (
    <Group align="flex-start" grow preventGrowOverflow={false}>
      <Paper withBorder p="md" component="section" aria-label="A text" miw={260}>
        <Title order={2} size="h4" mb="sm">
          A text
        </Title>
        <TryOut kind="text" />
      </Paper>
      <Paper withBorder p="md" component="section" aria-label="A picture" miw={260}>
        <Title order={2} size="h4" mb="sm">
          A picture
        </Title>
        <TryOut kind="image" />
      </Paper>
    </Group>
  );
}

function WayIn() {
  const tenantUrl = useLive((state) => state.tenantUrl);
  return (
    <Stack>
      <Text size="sm">
        From this machine the API answers at <Code>{tenantUrl}</Code>. Both ways from elsewhere are shut until
        you open them.
      </Text>
      <Lan />
      <TunnelCard />
    </Stack>
  );
}
