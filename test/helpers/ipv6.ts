// Not every machine that runs tests has IPv6.

import { networkInterfaces } from 'node:os'

/** Whether this machine has the address ::1. */
export const hasIpv6 = (): boolean =>
  Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1') === true)
