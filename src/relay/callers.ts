/**
 * Who is connected to the relay port, and who has to go when it is full.
 *
 * A connection costs a stranger nothing. So a full port does not turn away who comes: it closes the
 * connection that has made us wait longest, be it silent, slow, or kept for later. One with a relay
 * that is being answered is never closed; only when all are such is the newcomer turned away.
 * Tests: test/relay/callers.ts, test/relay/hostile-crowd.ts.
 */
import type { Socket } from 'node:net'

export interface CallersOptions {
  readonly connectionsMax: number
  /** Requests sent ahead on one connection; no gateway sends any. */
  readonly aheadMax: number
}

export class Callers {
  readonly #options: CallersOptions
  /** Requests of each connection that are here and not yet answered. */
  readonly #requests = new Map<Socket, number>()
  /** Those without a whole request, in the order in which they began to make us wait. */
  readonly #awaited = new Set<Socket>()

  constructor(options: CallersOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#requests.size
  }

  /** A connection was made, or begins once more. */
  enter(socket: Socket): void {
    if (this.#requests.has(socket)) return
    if (this.#requests.size >= this.#options.connectionsMax) {
      const [longest] = this.#awaited
      if (longest === undefined) {
        socket.destroy()
        return
      }
      this.#leave(longest)
      longest.destroy()
    }
    this.#requests.set(socket, 0)
    this.#awaited.add(socket)
    socket.once('close', () => this.#leave(socket))
  }

  /** A request has begun to come. False when its connection has sent too many: it is to be closed. */
  begin(socket: Socket): boolean {
    const requests = this.#requests.get(socket)
    if (requests === undefined || requests > this.#options.aheadMax) return false
    this.#requests.set(socket, requests + 1)
    return true
  }

  /** It is here to its last byte. */
  came(socket: Socket): void {
    this.#awaited.delete(socket)
  }

  /** It was answered. */
  end(socket: Socket): void {
    const requests = this.#requests.get(socket)
    if (requests === undefined) return
    this.#requests.set(socket, requests - 1)
    if (requests === 1) this.#awaited.add(socket)
  }

  #leave(socket: Socket): void {
    this.#requests.delete(socket)
    this.#awaited.delete(socket)
  }
}
