/** What the blocks of a real chain have emitted, read from the node, for tests to judge by. */
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import type { Event } from '../../src/devnet/events.ts'
import type { Localnet } from './localnet.ts'

export interface ChainEvent extends Event {
  readonly height: number
}

interface Results {
  readonly txs_results: { events: Event[] }[] | null
  readonly finalize_block_events: Event[] | null
}

const LOOK_EVERY = ms(200)

export class ChainEvents {
  readonly #chain: Localnet
  readonly #list: ChainEvent[] = []
  #next = 1
  #reading: Promise<void> = Promise.resolve()

  constructor(chain: Localnet) {
    this.#chain = chain
  }

  /**
   * Of all blocks so far, those of one kind, `pocket.<module>.Event<name>`, whose attributes have these
   * values.
   */
  async named(name: string, where: Readonly<Record<string, string>> = {}): Promise<ChainEvent[]> {
    this.#reading = this.#reading.then(() => this.#catchUp())
    await this.#reading
    return this.#list.filter(
      (event) =>
        event.type.endsWith(`.Event${name}`) &&
        Object.entries(where).every(([key, value]) => attribute(event, key) === value),
    )
  }

  /** Waits until there are so many; gives up at a height. */
  async until(
    count: number,
    name: string,
    where: Readonly<Record<string, string>>,
    before: number,
  ): Promise<ChainEvent[]> {
    for (;;) {
      const height = await this.#chain.height().catch(() => 0)
      const found = await this.named(name, where).catch(() => [])
      if (found.length >= count || height > before) return found
      await systemClock.sleep(LOOK_EVERY)
    }
  }

  async #catchUp(): Promise<void> {
    const height = await this.#chain.height()
    while (this.#next <= height) {
      const at = { height: String(this.#next) }
      // The last block's results may not be there yet.
      const results = await this.#chain.call<Results>('block_results', at).catch(() => undefined)
      if (results === undefined) return
      const transactions = (results.txs_results ?? []).flatMap(({ events }) => events)
      for (const event of [...transactions, ...(results.finalize_block_events ?? [])])
        this.#list.push({ ...event, height: this.#next })
      this.#next++
    }
  }
}

/** An attribute of a typed event, whose value is JSON text; as text. */
export function attribute(event: Event | undefined, name: string): string {
  const found = event?.attributes.find(({ key }) => key === name)
  if (found === undefined) return ''
  const value: unknown = JSON.parse(found.value)
  return typeof value === 'string' ? value : JSON.stringify(value)
}
