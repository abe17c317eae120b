package backup

// GiveToOwner is for tests of what happens in the middle of a restore.
var GiveToOwner = giveToOwner
