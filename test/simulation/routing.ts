// Which subscribers a subject has: exact subjects, and patterns whose last token is a wildcard.

import type { Random } from '../../lib/actor/actor.js'

interface Subscribes {
  readonly subject: string
  readonly queue: string | undefined
}

export interface Routing<S extends Subscribes> {
  add(subscriber: S): void
  remove(subscriber: S): void
  /** One of every queue group, drawn; all others. */
  receivers(subject: string): readonly S[]
}

const parentOf = (subject: string): string => subject.slice(0, subject.lastIndexOf('.'))

export function createRouting<S extends Subscribes>(random: Random): Routing<S> {
  const bySubject = new Map<string, Set<S>>() // a pattern under its own text

  return {
    add: (subscriber) => {
      const there = bySubject.get(subscriber.subject) ?? new Set<S>()
      bySubject.set(subscriber.subject, there.add(subscriber))
    },
    remove: (subscriber) => {
      const there = bySubject.get(subscriber.subject)
      there?.delete(subscriber)
      if (there?.size === 0) bySubject.delete(subscriber.subject)
    },
    receivers: (subject) => {
      const all = [...(bySubject.get(subject) ?? []), ...(bySubject.get(`${parentOf(subject)}.*`) ?? [])]
      const groups = new Map<string, S[]>()
      const chosen = all.filter((subscriber) => {
        if (subscriber.queue === undefined) return true
        groups.set(subscriber.queue, [...(groups.get(subscriber.queue) ?? []), subscriber])
        return false
      })
      for (const members of groups.values()) chosen.push(members[Math.floor(random() * members.length)]!)
      return chosen
    },
  }
}
