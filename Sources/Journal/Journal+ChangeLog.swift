extension Journal: ChangeLog {}
