// Package sim holds simulations: networks of ledgers in one goroutine, with a seeded network, disk and time, against a plain model.
//
// A reference ledger makes a history: blocks of random envelopes by honest and hostile actors, with idle hours between. The model, which is
// maps and loops and knows nothing of tables, Cedar or logs, predicts every result, every decision and every entry that the ledger writes by
// itself. Some things chance alone would rarely bring about (a glass broken before its review, a delegate's delegate who gives too much): these
// are aims, which the town pursues until they are met, and a history that has not met them all fails. Replicas then get the same blocks
// late, twice and out of order; they crash, lose what was not durable, drop blocks that they had applied, fail to commit, and start again.
// At each height all have one app hash. Custodians with real shares and slow or fast clocks are asked for what the model says they must
// refuse.
//
//	SIM_SEED=N     repeats a run (a failing run prints its seed)
//	SIM_BLOCKS=N   how long the history is
//
// Key generation draws from the runtime's randomness, so that hashes differ from run to run; what happens does not.
package sim
