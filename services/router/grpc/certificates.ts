// The doors' certificate in the form that grpc-js asks for. It tells a listener of the first pair only when the caller
// has come to its end: before that grpc-js does not keep what it is told.

import type { TlsContext, TlsSource } from '../tls-source.js'

interface Identity {
  readonly certificate: Buffer
  readonly privateKey: Buffer
}
interface Authority {
  readonly caCertificate: Buffer
}
type Listener<T> = (update: T | null) => void

export interface CertificateProvider {
  addCaCertificateListener(listener: Listener<Authority>): void
  removeCaCertificateListener(listener: Listener<Authority>): void
  addIdentityCertificateListener(listener: Listener<Identity>): void
  removeIdentityCertificateListener(listener: Listener<Identity>): void
}

export function certificateProvider(tls: TlsSource): CertificateProvider {
  const stops = new Map<unknown, () => void>()
  const add = <T>(listener: Listener<T>, pick: (context: TlsContext) => T | null): void => {
    stops.set(
      listener,
      tls.onChange((context) => listener(pick(context))),
    )
    void Promise.resolve().then(() => listener(pick(tls.context)))
  }
  const remove = (listener: unknown): void => {
    stops.get(listener)?.()
    stops.delete(listener)
  }
  return {
    addCaCertificateListener: (listener) =>
      add(listener, ({ ca }) => (ca === undefined ? null : { caCertificate: ca })),
    removeCaCertificateListener: remove,
    addIdentityCertificateListener: (listener) =>
      add(listener, ({ cert, key }) => ({ certificate: cert, privateKey: key })),
    removeIdentityCertificateListener: remove,
  }
}
