import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { type CheckoutSession, secretKey, StripeServer, webhookSecret } from './stripe-server.ts';

/* Payments with Stripe's own SDK on our side, and a server that speaks Stripe's protocol on the other. */
const env = { KILNHOUSE_DEMO: '0', KILNHOUSE_LM_STUDIO_ENABLED: 'false', KILNHOUSE_WEBUI_ENABLED: 'false' };
let stripe: StripeServer;
let appliance: TestAppliance;
let count = 0;

beforeAll(async () => {
  stripe = await new StripeServer().start();
  const payments = { stripeSecretKey: secretKey, stripeWebhookSecret: webhookSecret, stripeUrl: stripe.url };
  appliance = await TestAppliance.start({ env, config: { payments, accounts: { callsPerAddress: 10_000 } } });
});
afterAll(async () => {
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, faults: [] });
  await appliance.stop();
  await stripe.stop();
});

const person = (): Promise<Person> => appliance.register(`buyer-${(count += 1)}@example.test`);

interface Ordered {
  readonly buyer: Person;
  readonly order: string;
  readonly session: CheckoutSession;
  readonly payment: string;
}

const checkout = (as: string, body: object, headers = {}): Promise<Answer> =>
  appliance.call('POST', '/api/v1/payments/create-checkout', { as, body, headers });

async function ordered(body: object = { package: 'starter' }, buyer?: Person): Promise<Ordered> {
  const who = buyer ?? (await person());
  const { status, data, text } = await checkout(who.token, body);
  expect(status, text).toBe(201);
  const session = stripe.sessions.at(-1);
  if (!session) throw new Error('no session');
  expect(session.metadata.order).toBe(data.order);
  const payment = `pi_${session.id}`;
  stripe.things.set(payment, { id: payment, object: 'payment_intent', metadata: session.metadata });
  return { buyer: who, order: data.order, session, payment };
}

/** What arrives, as it arrives. */
async function send(event: object, options = {}): Promise<Answer> {
  const { payload, headers } = stripe.signed(event, options);
  return appliance.call('POST', '/api/v1/payments/webhook', { body: payload, headers });
}

function paid({ session, payment }: Ordered, change: object = {}, more: object = {}): object {
  const object = {
    ...session,
    payment_status: 'paid',
    payment_intent: payment,
    subscription: null,
    ...change,
  };
  return stripe.event('checkout.session.completed', object, more);
}

function refunded({ session, payment }: Ordered, cents: number, change: object = {}): object {
  return stripe.event('charge.refunded', {
    id: `ch_${session.id}`,
    object: 'charge',
    payment_intent: payment,
    currency: session.currency,
    amount_refunded: cents,
    metadata: session.metadata,
    ...change,
  });
}

function disputed({ session, payment }: Ordered, status: string, type = 'charge.dispute.created'): object {
  const dispute = { id: `dp_${session.id}`, object: 'dispute', payment_intent: payment, status };
  stripe.things.set(dispute.id, dispute);
  return stripe.event(type, dispute);
}

const credits = async ({ buyer }: Ordered): Promise<number> =>
  (await appliance.call('GET', '/api/v1/credits/balance', { as: buyer.key })).data.posted;
const receipt = async ({ buyer, order }: Ordered) =>
  (await appliance.call('GET', `/api/v1/payments/orders/${order}`, { as: buyer.token })).data;

test('a package: ordered, paid, credited once, confirmed by e-mail, and on the list of receipts', async () => {
  const { data } = await appliance.call('GET', '/api/v1/payments/packages');
  expect(data.enabled).toBe(true);
  expect(data.packages[0]).toEqual({
    id: 'starter',
    name: 'Starter',
    credits: 100,
    priceCents: 2_900,
    currency: 'usd',
  });
  const it = await ordered();
  expect(it.session).toMatchObject({ mode: 'payment', amount_total: 2_900, customer_email: it.buyer.email });
  expect(await receipt(it)).toMatchObject({ status: 'open', credits: 100 });
  expect((await send(paid(it))).status).toBe(200);
  expect(await credits(it)).toBe(100);
  expect(await receipt(it)).toMatchObject({ status: 'paid' });
  const { items } = await appliance.operator('/api/outbox');
  expect(items[0]).toMatchObject({ recipient: it.buyer.email, subject: 'Your payment has arrived' });
  expect(items[0].body).toContain('29.00 USD for 100 credits');
});

describe('W1, F60: an event is believed only after its signature', () => {
  test.each<[string, (it: Ordered) => Promise<Answer>]>([
    ['none', (it) => appliance.call('POST', '/api/v1/payments/webhook', { body: paid(it) })],
    [
      'an empty one',
      (it) =>
        appliance.call('POST', '/api/v1/payments/webhook', {
          body: paid(it),
          headers: { 'stripe-signature': '' },
        }),
    ],
    ['of an empty secret', (it) => send(paid(it), { secret: ' ' })],
    ['of another secret', (it) => send(paid(it), { secret: 'whsec_of_somebody' })],
    ['of six minutes ago', (it) => send(paid(it), { at: Math.floor(Date.now() / 1000) - 360 })],
    [
      'of other bytes',
      (it) => {
        const { headers } = stripe.signed(paid(it));
        return appliance.call('POST', '/api/v1/payments/webhook', { body: paid(it), headers });
      },
    ],
    [
      'of the same JSON, written anew',
      (it) => {
        const { payload, headers } = stripe.signed(paid(it));
        const body = JSON.stringify(JSON.parse(payload), null, 1);
        return appliance.call('POST', '/api/v1/payments/webhook', { body, headers });
      },
    ],
    [
      'cut',
      (it) => {
        const { payload, headers } = stripe.signed(paid(it));
        const signature = headers['stripe-signature'].slice(0, -2);
        return appliance.call('POST', '/api/v1/payments/webhook', {
          body: payload,
          headers: { 'stripe-signature': signature },
        });
      },
    ],
  ])('%s', async (_, deliver) => {
    const it = await ordered();
    const { status, code } = await deliver(it);
    expect([status, code]).toEqual([400, 'invalid_request']);
    expect(await credits(it)).toBe(0);
  });

  test('one good signature of two is enough, as when the secret is changed', async () => {
    const it = await ordered();
    const { payload, headers } = stripe.signed(paid(it));
    const two = `${headers['stripe-signature']},v1=${'0'.repeat(64)}`;
    const body = { body: payload, headers: { ...headers, 'stripe-signature': two } };
    expect((await appliance.call('POST', '/api/v1/payments/webhook', body)).status).toBe(200);
    expect(await credits(it)).toBe(100);
  });
});

describe('W1: and only as far as it agrees with our order', () => {
  test.each<[string, object, object]>([
    ['less than was ordered', { amount_total: 1 }, {}],
    ['more', { amount_total: 1_000_000 }, {}],
    ['another currency', { currency: 'jpy' }, {}],
    ['another session', { id: 'cs_test_of_somebody' }, {}],
    ['not paid', { payment_status: 'unpaid' }, {}],
    ['nothing due', { payment_status: 'no_payment_required' }, {}],
    ['an order that is not there', { metadata: { order: 'ord_0' } }, {}],
    ['no order', { metadata: {} }, {}],
    ['an order of another provider', { metadata: { order: 'paypal_1' } }, {}],
    ['live, where we are not', {}, { livemode: true }],
    ['of a connected account', {}, { account: 'acct_1' }],
  ])('%s: nothing is credited, and Stripe need not try again', async (_, change, more) => {
    const it = await ordered();
    expect((await send(paid(it, change, more))).status).toBe(200);
    expect(await credits(it)).toBe(0);
  });

  test('what contradicts an order is kept for the operator to look at', async () => {
    const it = await ordered();
    await send(paid(it, { amount_total: 1 }));
    const { items } = await appliance.operator('/api/orders?limit=1');
    expect(items[0]).toMatchObject({ id: it.order, problem: 'paid 1, ordered 2900', given: 0 });
  });

  test('the credits are those of the order, whatever the package is by then', async () => {
    const it = await ordered();
    const packages = await appliance.operator('/api/packages');
    await appliance.operator('/api/packages', 'PUT', {
      ...packages,
      starter: { ...packages.starter, credits: 1 },
    });
    await send(paid(it));
    await appliance.operator('/api/packages', 'PUT', packages);
    expect(await credits(it)).toBe(100);
  });
});

describe('any number of times, in any order', () => {
  test('one event a thousand times, many at once', async () => {
    const it = await ordered();
    const event = paid(it);
    for (let round = 0; round < 10; round += 1) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => send(event)));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
    }
    expect(await credits(it)).toBe(100);
  });

  test('two events of one payment', async () => {
    const it = await ordered();
    await Promise.all([send(paid(it)), send(paid(it))]);
    expect(await credits(it)).toBe(100);
  });

  const endings: [string, (it: Ordered) => object[], number, string][] = [
    ['paid, refunded', (it) => [paid(it), refunded(it, 2_900)], 0, 'refunded'],
    ['paid, half refunded', (it) => [paid(it), refunded(it, 1_450)], 50, 'refunded'],
    ['refunded in two parts', (it) => [paid(it), refunded(it, 1_000), refunded(it, 2_900)], 0, 'refunded'],
    ['paid, disputed', (it) => [paid(it), disputed(it, 'needs_response')], 0, 'disputed'],
    [
      'a dispute that was won',
      (it) => [paid(it), disputed(it, 'won'), disputed(it, 'won', 'charge.dispute.closed')],
      100,
      'paid',
    ],
  ];
  test.each(
    endings.flatMap(([name, events, left, status]) => [
      [name, events, left, status] as const,
      [`${name}, the other way around`, (it: Ordered) => events(it).toReversed(), left, status] as const,
    ]),
  )('%s', async (_, events, left, status) => {
    const it = await ordered();
    const all = events(it);
    for (const event of all) expect((await send(event)).status).toBe(200);
    for (const event of all) await send(event);
    expect(await credits(it)).toBe(left);
    expect((await receipt(it)).status).toBe(status);
  });

  test('a dispute: credits go when it begins and come back when it is won', async () => {
    const it = await ordered();
    await send(paid(it));
    await send(disputed(it, 'needs_response'));
    expect(await credits(it)).toBe(0);
    await send(disputed(it, 'won', 'charge.dispute.closed'));
    expect(await credits(it)).toBe(100);
  });

  test('what was spent cannot be taken back, and is written down', async () => {
    const it = await ordered();
    await send(paid(it));
    await appliance.operator(`/api/tenants/${it.buyer.company}/credits`, 'POST', {
      credits: -70,
      reason: 'as if spent',
    });
    await send(refunded(it, 2_900));
    expect(await credits(it)).toBe(0);
    const { items } = await appliance.operator('/api/orders?limit=1');
    expect(items[0]).toMatchObject({ id: it.order, given: 70, uncollected: 70 });
  });

  test('a session that expires is closed, and a payment that comes late all the same counts', async () => {
    const it = await ordered();
    await send(stripe.event('checkout.session.expired', it.session));
    expect((await receipt(it)).status).toBe('closed');
    await send(paid(it, {}, {}));
    expect(await credits(it)).toBe(100);
    expect((await receipt(it)).status).toBe('paid');
  });

  test('a bank that takes its time', async () => {
    const it = await ordered();
    await send(paid(it, { payment_status: 'unpaid' }));
    expect(await credits(it)).toBe(0);
    const object = { ...it.session, payment_status: 'paid', payment_intent: it.payment };
    await send(stripe.event('checkout.session.async_payment_succeeded', object));
    expect(await credits(it)).toBe(100);
  });
});

describe('subscriptions', () => {
  const plan = async ({ buyer }: Ordered): Promise<string> =>
    (await appliance.call('GET', '/api/v1/company', { as: buyer.token })).data.plan;
  function invoice(it: Ordered, number: number, change: object = {}): object {
    const subscription = `sub_${it.session.id}`;
    return stripe.event('invoice.paid', {
      id: `in_${it.session.id}_${number}`,
      object: 'invoice',
      amount_paid: it.session.amount_total,
      currency: it.session.currency,
      lines: { data: [{ period: { start: 0, end: Math.floor(Date.now() / 1000) + 30 * 86_400 } }] },
      parent: { subscription_details: { subscription, metadata: it.session.metadata } },
      ...change,
    });
  }
  function subscription(it: Ordered, status: string, type = 'customer.subscription.updated'): object {
    const object = {
      id: `sub_${it.session.id}`,
      object: 'subscription',
      status,
      metadata: it.session.metadata,
    };
    stripe.things.set(object.id, object);
    return stripe.event(type, object);
  }
  const begun = (it: Ordered): object =>
    paid(it, { subscription: `sub_${it.session.id}`, payment_intent: null });

  test('gives the plan, its credits each month once, and ends with it', async () => {
    const plans = await appliance.operator('/api/plans');
    await appliance.operator('/api/plans', 'PUT', { ...plans, pro: { ...plans.pro, creditsPerMonth: 40 } });
    const it = await ordered({ plan: 'pro' });
    await appliance.operator('/api/plans', 'PUT', plans);
    expect(it.session).toMatchObject({ mode: 'subscription', amount_total: 4_900 });
    for (const event of [begun(it), invoice(it, 1), invoice(it, 1)]) await send(event);
    expect(await plan(it)).toBe('pro');
    expect(await credits(it)).toBe(40);
    await send(invoice(it, 2));
    expect(await credits(it)).toBe(80);
    await send(invoice(it, 3, { amount_paid: 1 }));
    expect(await credits(it)).toBe(80);
    expect((await checkout(it.buyer.token, { plan: 'plus' })).code).toBe('conflict');
    const cancelled = await appliance.call('DELETE', '/api/v1/payments/subscription', { as: it.buyer.token });
    expect(cancelled.status).toBe(200);
    expect(stripe.cancelled).toContain(`sub_${it.session.id}`);
    expect(await plan(it)).toBe('pro');
    await send(subscription(it, 'canceled', 'customer.subscription.deleted'));
    expect(await plan(it)).toBe('free');
  });

  test('review 22: an invoice without lines is for a month', async () => {
    const plans = await appliance.operator('/api/plans');
    await appliance.operator('/api/plans', 'PUT', { ...plans, pro: { ...plans.pro, creditsPerMonth: 40 } });
    const it = await ordered({ plan: 'pro' });
    await appliance.operator('/api/plans', 'PUT', plans);
    const created = Math.floor(Date.now() / 1000);
    await send(invoice(it, 1, { lines: { data: [] }, created, period_end: created }));
    expect(await credits(it)).toBe(40);
    const { data } = await appliance.call('GET', '/api/v1/users/transactions', { as: it.buyer.token });
    const days = (Date.parse(data.items[0].expiresAt) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(30);
    expect(days).toBeLessThan(40);
  });

  test('the first invoice before the session: the same', async () => {
    const it = await ordered({ plan: 'plus' });
    await send(invoice(it, 1));
    await send(begun(it));
    expect(await plan(it)).toBe('plus');
  });

  test('one that is not paid any more ends the plan; an old event does not bring it back', async () => {
    const it = await ordered({ plan: 'pro' });
    await send(begun(it));
    await send(subscription(it, 'past_due'));
    expect(await plan(it)).toBe('pro');
    await send(subscription(it, 'unpaid'));
    expect(await plan(it)).toBe('free');
    // Late and out of date: what counts is how it stands at Stripe.
    await send(
      stripe.event('customer.subscription.updated', { id: `sub_${it.session.id}`, status: 'active' }),
    );
    expect(await plan(it)).toBe('free');
  });

  test('a refund of a month takes back that month’s credits', async () => {
    const plans = await appliance.operator('/api/plans');
    await appliance.operator('/api/plans', 'PUT', { ...plans, pro: { ...plans.pro, creditsPerMonth: 40 } });
    const it = await ordered({ plan: 'pro' });
    await appliance.operator('/api/plans', 'PUT', plans);
    await send(begun(it));
    await send(invoice(it, 1));
    await send(invoice(it, 2));
    const payment = `pi_month_${it.session.id}`;
    stripe.things.set(payment, { id: payment, object: 'payment_intent', metadata: {} });
    stripe.things.set(`invoice of ${payment}`, { id: 'inpay_1', invoice: `in_${it.session.id}_2` });
    await send(refunded(it, 4_900, { payment_intent: payment, metadata: {} }));
    expect(await credits(it)).toBe(40);
  });
});

describe('ordering', () => {
  test.each<[string, object]>([
    ['a package that is not there', { package: 'gold' }],
    ['a plan that is not sold', { plan: 'enterprise' }],
    ['the free plan', { plan: 'free' }],
    ['a price of one’s own', { package: 'starter', amount: 1 }],
    ['both', { package: 'starter', plan: 'pro' }],
    ['a name of every object', { package: 'constructor' }],
    ['nothing', {}],
  ])('%s is refused', async (_, body) => {
    expect((await checkout((await person()).token, body)).status).toBe(400);
  });

  test('a member and a key cannot', async () => {
    const ann = await person();
    const bob = await appliance.register(`member-${(count += 1)}@example.test`, { tenant: ann.company });
    for (const as of [bob.token, ann.key])
      expect((await checkout(as, { package: 'starter' })).status).toBe(403);
  });

  test('L9: the same Idempotency-Key is one order', async () => {
    const ann = await person();
    const before = stripe.sessions.length;
    const headers = { 'idempotency-key': 'one-order' };
    const [first, again] = [
      await checkout(ann.token, { package: 'pro' }, headers),
      await checkout(ann.token, { package: 'pro' }, headers),
    ];
    expect(again.text).toBe(first.text);
    expect(stripe.sessions.length).toBe(before + 1);
    expect((await checkout(ann.token, { package: 'starter' }, headers)).status).toBe(422);
  });

  test('Stripe out of order: the order is closed, the buyer is told, and nothing was charged', async () => {
    const ann = await person();
    stripe.failing = 500;
    const { status, code } = await checkout(ann.token, { package: 'pro' });
    stripe.failing = null;
    expect([status, code]).toEqual([502, 'payment_provider_error']);
    const { data } = await appliance.call('GET', '/api/v1/payments/orders', { as: ann.token });
    expect(data.items).toMatchObject([{ status: 'closed' }]);
  });
});

test.each([
  ['without keys', {}],
  ['with an empty secret', { stripeSecretKey: secretKey, stripeWebhookSecret: '' }],
  ['with a blank one', { stripeSecretKey: '  ', stripeWebhookSecret: webhookSecret }],
])('A8: %s payments are off and say so', async (_, payments) => {
  const off = await TestAppliance.start({ env, config: { payments } });
  const ann = await off.register('ann@example.test');
  expect((await off.call('GET', '/api/v1/payments/packages')).data.enabled).toBe(false);
  const body = { package: 'starter' };
  expect((await off.call('POST', '/api/v1/payments/create-checkout', { as: ann.token, body })).code).toBe(
    'payments_off',
  );
  const { payload, headers } = stripe.signed(stripe.event('ping', {}), { secret: ' ' });
  expect((await off.call('POST', '/api/v1/payments/webhook', { body: payload, headers })).code).toBe(
    'payments_off',
  );
  await off.stop();
});
