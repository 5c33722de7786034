"""EDA: random changes of the shots, without a teacher."""
