package main

import "scstuser/nbd"

// farewell is the argument of --at_shutdown.
type farewell string

// The values of farewell.
const (
	farewellAuto   farewell = "auto"
	farewellRefuse farewell = "refuse"
	farewellHangUp farewell = "hangup"
)

// option is what the server calls it.
func (f farewell) option() nbd.Farewell {
	switch f {
	case farewellRefuse:
		return nbd.FarewellRefuse
	case farewellHangUp:
		return nbd.FarewellHangUp
	}
	return nbd.FarewellBySkill
}
