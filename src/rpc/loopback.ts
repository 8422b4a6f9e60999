// This machine, and nobody else.
import { BlockList, isIP, isIPv4 } from 'node:net'

export const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1']

const list = new BlockList()
list.addSubnet('127.0.0.0', 8, 'ipv4')
list.addAddress('::1', 'ipv6')

/** Whether an IP address is one that only this machine reaches. */
export const isLoopback = (address: string): boolean =>
  isIP(address) !== 0 && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
