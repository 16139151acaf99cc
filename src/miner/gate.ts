/**
 * Who may still add to a session: relays come in until it is sealed, and recording and sealing
 * exclude each other. In memory only: after a restart the session's record says whether it is sealed.
 * A session that was not opened here, or is forgotten, takes nothing: who still holds its record from
 * before cannot bring it back. Tests: test/miner/gate.ts.
 */
import { setMaxListeners } from 'node:events'
import { KeyedMutex } from '../base/queue.ts'
import { type SessionKey, sessionKeyText } from '../store/sessions.ts'
import { MinerError } from './errors.ts'

interface Door {
  inFlight: number
  writers: number
  sealed: boolean
  readonly cut: AbortController
  /** Woken when the last writer is done. */
  readonly idle: (() => void)[]
}

/** One relay's stay in a session. `leave` is idempotent. */
export interface Stay {
  /** Aborted when the session has to be sealed: what still runs then cannot be paid. */
  readonly signal: AbortSignal
  leave(): void
}

export class Gate {
  readonly #doors = new Map<string, Door>()
  readonly #locks = new KeyedMutex()

  /** Sessions that are kept in memory. */
  get size(): number {
    return this.#doors.size
  }

  /** Lets relays in, unless the session was sealed before. Only for one whose record is `serving`. */
  open(key: SessionKey): void {
    this.#door(key)
  }

  /** @throws MinerError SESSION_SEALED */
  enter(key: SessionKey): Stay {
    const door = this.#openDoor(key)
    door.inFlight++
    let inside = true
    return {
      signal: door.cut.signal,
      leave: () => {
        if (inside) door.inFlight--
        inside = false
      },
    }
  }

  inFlight(key: SessionKey): number {
    return this.#doors.get(sessionKeyText(key))?.inFlight ?? 0
  }

  /**
   * Runs `write` unless the session is sealed; a seal waits for it. Writers do not exclude each other:
   * the store groups them. @throws MinerError SESSION_SEALED
   */
  async record<T>(key: SessionKey, write: () => Promise<T>): Promise<T> {
    const door = this.#openDoor(key)
    door.writers++
    try {
      return await write()
    } finally {
      if (--door.writers === 0) for (const wake of door.idle.splice(0)) wake()
    }
  }

  /**
   * Lets nobody in any more, waits for those who are writing, then runs `fix`. With `cut` whoever is
   * still being answered is cancelled; without it, somebody inside means "not yet": undefined.
   * A failing `fix` leaves the session sealed: a root that was computed once must not change.
   */
  seal<T>(key: SessionKey, cut: boolean, fix: () => Promise<T>): Promise<T | undefined> {
    return this.#locks.run(sessionKeyText(key), async () => {
      const door = this.#door(key)
      if (!cut && !door.sealed && door.inFlight > 0) return undefined
      door.sealed = true
      door.cut.abort(sealed(key))
      if (door.writers > 0) await new Promise<void>((resolve) => door.idle.push(resolve))
      return await fix()
    })
  }

  /** What a restart learns from the session's record. */
  markSealed(key: SessionKey): void {
    this.#door(key).sealed = true
  }

  /** Forgets a finished session. */
  forget(key: SessionKey): void {
    this.#doors.delete(sessionKeyText(key))
  }

  #openDoor(key: SessionKey): Door {
    const door = this.#doors.get(sessionKeyText(key))
    if (door === undefined || door.sealed) throw sealed(key)
    return door
  }

  #door(key: SessionKey): Door {
    const name = sessionKeyText(key)
    const known = this.#doors.get(name)
    if (known !== undefined) return known
    const door: Door = {
      inFlight: 0,
      writers: 0,
      sealed: false,
      cut: manyHeard(),
      idle: [],
    }
    this.#doors.set(name, door)
    return door
  }
}

function sealed(key: SessionKey): MinerError {
  return new MinerError('SESSION_SEALED', 'the session is sealed', {
    data: { sessionId: key.sessionId, sessionEnd: key.end },
  })
}

/** Every relay of a session listens; Node would warn of a leak from the eleventh on. */
function manyHeard(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}
