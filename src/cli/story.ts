/**
 * What happens on the devnet, told in a line a block: relays with their speed, the claim, the proof,
 * the settlement. Judged by the chain's own events and balances, not by the supplier's word.
 * Tests: test/cli/story.ts.
 */
import type { Clock } from '../base/clock.ts'
import { formatPokt, type Ms, ms, parseCoin, type Upokt, upokt } from '../base/units.ts'
import type { Block } from '../devnet/archive.ts'
import { attributeOf, type Event } from '../devnet/events.ts'
import { balanceOf } from '../devnet/state.ts'
import type { ChatAnswer } from './prompts.ts'
import type { Site } from './site.ts'

export interface Story {
  relays: number
  tokens: number
  seconds: number
  claims: number
  proofs: number
  settled: number
}

const TEXT_MAX = 100

const EVENTS: Readonly<Record<string, (event: Event) => string>> = {
  'pocket.supplier.EventSupplierStaked': () => 'supplier staked, served from the next session on',
  'pocket.proof.EventClaimCreated': (event) =>
    `CLAIM of ${text(event, 'num_relays')} relays, worth ${pokt(event, 'claimed_upokt')}`,
  'pocket.proof.EventProofSubmitted': (event) =>
    `PROOF for ${text(event, 'num_relays')} relays submitted`,
  'pocket.proof.EventProofValidityChecked': (event) =>
    text(event, 'failure_reason') === ''
      ? 'proof valid'
      : `proof INVALID: ${text(event, 'failure_reason')}`,
  'pocket.tokenomics.EventClaimSettled': (event) =>
    `SETTLED ${text(event, 'num_relays')} relays at ${pokt(event, 'settled_upokt')}`,
  'pocket.tokenomics.EventClaimExpired': (event) =>
    `claim EXPIRED: ${text(event, 'expiration_reason')}`,
}

export class BlockStory {
  readonly facts: Story = { relays: 0, tokens: 0, seconds: 0, claims: 0, proofs: 0, settled: 0 }
  readonly #site: Pick<Site, 'devnet' | 'operator' | 'owner'>
  #sinceBlock: { relays: number; tokens: number; seconds: number; last: string } = nothing()

  constructor(site: Pick<Site, 'devnet' | 'operator' | 'owner'>) {
    this.#site = site
  }

  /** One answer came back through the gateway. */
  answered({ prompt, text, tokens }: ChatAnswer, duration: Ms): void {
    const seconds = duration / 1_000
    for (const count of [this.facts, this.#sinceBlock]) {
      count.relays++
      count.tokens += tokens
      count.seconds += seconds
    }
    // Whatever a model says must stay one line of a terminal.
    this.#sinceBlock.last = `${JSON.stringify(prompt)} -> ${JSON.stringify(text.slice(0, TEXT_MAX))}`
  }

  /** The line for a block, with what came since the last one; empty when nothing happened. */
  tell(block: Block): string {
    const events = [...block.results.flatMap((result) => result.events), ...block.events]
    const news = events.flatMap((event) => EVENTS[event.type]?.(event) ?? [])
    const count = (type: string) => events.filter((event) => event.type === type).length
    this.facts.claims += count('pocket.proof.EventClaimCreated')
    this.facts.proofs += count('pocket.proof.EventProofSubmitted')
    this.facts.settled += count('pocket.tokenomics.EventClaimSettled')
    const { relays, tokens, seconds, last } = this.#sinceBlock
    this.#sinceBlock = nothing()
    const served =
      relays === 0
        ? ''
        : `${relays} relays, ${(tokens / Math.max(seconds, 0.001)).toFixed(0)} tokens/s  ${last}`
    const parts = [...news, served].filter(Boolean)
    return parts.length === 0
      ? ''
      : `block ${String(block.height).padStart(4)}  ${parts.join(' | ')}`
  }

  balances(): { operator: Upokt; owner: Upokt } {
    const { devnet, operator, owner } = this.#site
    const { state } = devnet.contextAt(devnet.head.height)
    return {
      operator: upokt(balanceOf(state, operator.address)),
      owner: upokt(balanceOf(state, owner)),
    }
  }

  /** Until the chain has settled a claim; gives up after `limit`. @throws `signal.reason` */
  async paid(signal: AbortSignal, clock: Clock, limit: Ms): Promise<void> {
    const end = clock.monotonic() + limit
    while (this.facts.settled === 0 && clock.monotonic() < end) await clock.sleep(ms(100), signal)
  }
}

function nothing() {
  return { relays: 0, tokens: 0, seconds: 0, last: '' }
}

/** Attribute values are JSON text. */
function text(event: Event, name: string): string {
  return String(JSON.parse(attributeOf(event, name) ?? '""'))
}

function pokt(event: Event, name: string): string {
  return formatPokt(parseCoin(text(event, name)))
}
