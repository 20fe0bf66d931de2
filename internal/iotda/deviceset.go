package iotda

import (
	"encoding/json"
	"hash/maphash"
	"slices"
)

// DeviceSet is a set of device ids, as sorted hashes: 8 bytes each. Two ids of one hash are taken for the
// same device. The hashes hold for this process only.
type DeviceSet []uint64

var seed = maphash.MakeSeed()

// NewDeviceSet makes a set of ids.
func NewDeviceSet(ids ...string) DeviceSet {
	s := make(DeviceSet, 0, len(ids))
	for _, id := range ids {
		s = append(s, maphash.String(seed, id))
	}
	return s.sorted()
}

// Add adds an id at the end: the set can be used after Clean.
func (s *DeviceSet) Add(id []byte) { *s = append(*s, maphash.Bytes(seed, id)) }

// Clean gives the set of what was added, in memory of its own.
func (s DeviceSet) Clean() DeviceSet { return slices.Clone(s.sorted()) }

func (s DeviceSet) sorted() DeviceSet {
	slices.Sort(s)
	return slices.Compact(s)
}

// Has tells whether the device is in the set.
func (s DeviceSet) Has(id string) bool {
	_, found := slices.BinarySearch(s, maphash.String(seed, id))
	return found
}

// UnmarshalJSON reads a list of ids.
func (s *DeviceSet) UnmarshalJSON(data []byte) error {
	var ids []string
	if err := json.Unmarshal(data, &ids); err != nil {
		return err
	}
	if *s = nil; ids != nil {
		*s = NewDeviceSet(ids...)
	}
	return nil
}
